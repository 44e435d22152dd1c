"""The HTTP server: gunicorn's worker, its listeners, and connections before Flask sees them.

Routes are in `api`.  Read `worker` first, then `waiting_room` (incomplete requests), `connection`
and `gunicorn_adapter` (everything that we use of gunicorn's internals).
"""
