"""The embedded engine: llama.cpp in a child process, an upstream like any other."""
