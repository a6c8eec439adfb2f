"""Limit stores: who holds the books of accounts and keys."""
