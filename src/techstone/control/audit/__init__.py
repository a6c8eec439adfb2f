"""Who changed what: an append-only, hash-chained log."""
