"""Ways to reach an upstream."""
