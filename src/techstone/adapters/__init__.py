"""What the ports of the planes look like in the world: sockets, files, databases, metrics."""
