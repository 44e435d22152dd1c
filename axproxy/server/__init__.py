"""How gunicorn is used: its worker, its listeners, connections before Flask sees them.

Not about routes (`api`).  Read `worker` first, then `waiting_room` (half-sent requests) and
`connection`.
"""
