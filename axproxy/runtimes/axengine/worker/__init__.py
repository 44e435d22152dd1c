"""The process that computes: tokens in, sampled tokens out.  The service never imports it.

Begin with `decoder` (prefill, decode, KV cache), then `network` (the model's files as one
network), `shapes` and `masks` (what a file takes), `sampling`, `encoder` and `server`.
"""
