"""JSON as Go's `encoding/json` reads it, because Ollama's error messages are Go's.

Not about what a request means: the dialects know that.  Read `decode` first; `syntax` finds the
message for a text that is not JSON.
"""
