"""The rules: pure, each file a noun of the domain. No clock, socket, randomness or log."""
