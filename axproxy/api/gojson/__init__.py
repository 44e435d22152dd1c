"""JSON as Go's `encoding/json` reads it, because Ollama's error messages are Go's."""
