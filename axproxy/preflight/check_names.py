"""The names of the checks before a start, as `AX650_PREFLIGHT_SKIP` takes them."""

from __future__ import annotations

# In the order of a person who mends things: the files, the driver, the card, the host.
CHECK_NAMES = (
    "binary",
    "libraries",
    "model-folder",
    "models-dir",
    "pcie",
    "driver",
    "device-node",
    "kernel-log",
    "card",
    "device-id",
    "cmm",
    "cma",
    "ports",
    "memory",
    "temperature",
    "governor",
    "log-folder",
)
