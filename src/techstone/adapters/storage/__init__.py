"""The control plane's records in a database."""
