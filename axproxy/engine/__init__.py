"""Answers, one at a time: queue, keep-alive, format retry, heartbeats, cache warming.

Knows no vendor program and no HTTP.  Read `protocol` first (what the dialects ask), then `runtime`
(what the engine asks of the program that computes) and `engine`, which connects the two.
"""
