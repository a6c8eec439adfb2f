"""The management API: what the holder of an admin key may know and do with the own account, over HTTP."""
