"""Our own small API: `/generate` and `/load`, for scripts that need nothing of Ollama.

`/health`, `/ready` and the other routes for operators are in `api.ops`.  Read `routes` first.
"""
