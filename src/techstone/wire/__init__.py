"""Shapes on the wire: msgspec structs without behaviour."""
