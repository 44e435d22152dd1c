"""The accelerator card, the vendor's tool for it, and the host around it.

Not the checks before a start: those are in `preflight`.  Read `smi` first (it runs the vendor's
`axcl-smi`; `smi_table` parses its output), then `monitor` (what `/health` shows) and `failure`
(how a dead card is recognised).
"""
