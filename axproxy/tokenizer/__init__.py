"""Our tokenizer process, and the clients of it and of the vendor's tokenizer script.

Not about prompts (`prompts`).  Read `server` first: the HTTP protocol that the vendor's program
calls; then `handlers`, `tokenizer`, `detokenizer`.  `run_trace` is the exact record of a run that
`client` reads.
"""
