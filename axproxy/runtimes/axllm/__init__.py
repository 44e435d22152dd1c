"""The vendor's newer `axllm serve`: one process, chat messages in, server-sent events out.

Not about queueing or parsing answers (`engine`), nor about what a model's prompts look like
(`prompts`).  Read `client` first (its HTTP dialect), then `streamed_run`, `draining` (what
happens to a run whose client has left), `runtime`, `launch` (how it is started and stopped) and
`load_log`, `run_log` (what its output shows).
"""
