"""The data plane: from a client's bytes to an upstream's and back. Never opens the database."""
