"""The version of this package. It has its own: openai's is that of the package it builds on."""

__version__ = "0.1.0"
