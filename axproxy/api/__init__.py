"""The HTTP dialects: bytes to messages and back, on Flask.

Not about how an answer is computed: this package uses an `Engine` and a catalogue of `Models`, and
imports no vendor program and no process.  Read `dialects` first, then `ollama.routes`; `openai`,
`anthropic` and `native` have the same files.  `streaming` sends answers, `errors` answers failures
in the dialect that was called, `access` decides who may call.
"""
