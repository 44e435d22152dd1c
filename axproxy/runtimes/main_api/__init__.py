"""The vendor's `main_api_axcl_*`: a stateful program driven by reset, generate and poll.

Not about queueing or parsing answers (`engine`).  Read `client` first (its HTTP dialect), then
`generation` (one run), `runtime` (one run after another on one KV cache), `launch` (how it is
started and stopped) and `load_log`, `run_log` (what its output shows).
"""
