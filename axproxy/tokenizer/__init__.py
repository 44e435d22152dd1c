"""Our tokenizer process, and the clients of it and of the vendor's tokenizer script.

Not about prompts (`prompts`).  Read `choice` first: what depends on AX650_TOKENIZER.  Then the
server: `handlers` (the calls of the vendor's program), `tokenizer`, `detokenizer`.  `run_trace` and
`decode_calls` make the exact record of a run that `client` reads.
"""
