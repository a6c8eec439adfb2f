"""Top-ups by card: asked for here, paid at a processor, credited once."""
