"""One supervised process and what is known about it: start, probe, output, restart, stop.

Knows no vendor program: what to start and when it is ready comes in a `ChildSpec`.
Read `states` first (the table of states), then `child` (one child), `process` (the operating
system's side), `probe` and `restart`.
"""
