"""The database's history, run by Alembic at the start of the control plane."""
