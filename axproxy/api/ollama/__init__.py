"""Ollama's API.

`requests` and `replies` turn bytes into neutral messages and back, and know no socket and no Flask.
The rules of model names are in `models.names`.  Read `routes` first, then `requests` and `replies`.
"""
