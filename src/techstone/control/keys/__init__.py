"""API keys: made, listed, rotated and revoked; the key itself is shown once and kept nowhere."""
