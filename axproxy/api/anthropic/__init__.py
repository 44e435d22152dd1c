"""Anthropic's Messages API as Ollama serves it.  Read `routes` first."""
