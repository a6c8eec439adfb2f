"""The journal: usage on the gateway's own disk, durable before a client has the last byte of its answer."""
