"""What gateways report: how they do, and whom they refused."""
