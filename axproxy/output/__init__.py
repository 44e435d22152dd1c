"""What a model's text means: stop strings, thinking, tool calls, JSON.

Not about prompts (`prompts`) and not about how answers are sent (`api`).  Nothing here does I/O.
Read `reader` first: it splits the raw text of an answer; then `thinking`, `tool_calls`, `limits`.
`json_format` and `json_schema` check answers whose format the request demands.
"""
