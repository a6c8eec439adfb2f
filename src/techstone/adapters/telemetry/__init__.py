"""What operators see: metrics and structured logs. Never in the way of a request."""
