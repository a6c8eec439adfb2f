"""The composition root: configuration in, running processes out. The only floor that knows all others."""
