"""Our own small API: `/generate` and `/load`, for scripts that do not use Ollama's.

`/health`, `/ready` and the other routes for operators are in `api.ops`.  Read `routes` first.
"""
