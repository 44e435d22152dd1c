"""The HTTP dialects: bytes to messages and back, on Flask.

Knows no vendor program and no process.  Read `ollama.routes` first; `openai`, `anthropic` and
`native` have the same files.  `streaming` sends answers; `errors` gives each dialect its error
bodies.
"""
