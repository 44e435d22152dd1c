"""Anthropic's Messages API as Ollama serves it.

`requests` and `replies` turn bytes into neutral messages and back; they use Ollama's options and
messages, and know no socket and no Flask.  Read `routes` first.
"""
