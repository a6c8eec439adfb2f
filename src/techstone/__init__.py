"""TechStone AI Cloud: one API for every model, in OpenAI's format."""

__version__ = "0.1.0"
