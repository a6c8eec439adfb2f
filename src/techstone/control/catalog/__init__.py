"""What is on offer: plans, models and providers, as the configuration names them."""
