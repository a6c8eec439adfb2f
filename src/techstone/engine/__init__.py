"""The embedded model: llama.cpp in a process of its own, reached by the gateway like any other upstream."""
