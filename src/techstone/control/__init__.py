"""The control plane: owns the database and publishes the snapshot that the gateway serves by."""
