"""The accelerator card, the vendor's tool for it, and the host around it.

Not about checks before a start (`preflight`).  Read `smi` first (the vendor's `axcl-smi`, read by
`smi_table`), then `monitor` (what `/health` shows) and `failure` (when a card counts as dead).
"""
