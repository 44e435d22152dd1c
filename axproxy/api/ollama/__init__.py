"""Ollama's API.  Read `routes` first, then `requests` and `replies`."""
