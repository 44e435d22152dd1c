"""What an operator sees: log lines, request ids, metrics, systemd notifications.

Not about the HTTP routes that serve them (`api.ops`).  Read `logs` first, then `request_log`,
`metrics` and `systemd`.
"""
