"""One supervised process, and a row of them: start, probe, output, restart, stop.

Knows no vendor program: what to start comes in a `Recipe` and its `ChildSpec`s.  Read `states`
first (the table of states), then `spec` and `child` (one child), `supervisor` (the row),
`readiness`, and `process` (the operating system's side).
"""
