"""Feature switches: a closed list, each with a default, and what operators made of it."""
