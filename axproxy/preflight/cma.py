"""Checks the host's contiguous memory (CMA); too little prevents a start only on request.

The model's weights are in the card's own memory.  Whatever the model, the driver takes a few MiB of
the host's CMA, and falls back to ordinary pages (read from the driver's source).
"""

from __future__ import annotations

import re
from typing import cast

from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding, Severity

_CONFIG = "/boot/firmware/config.txt"
_CMDLINE = "/boot/firmware/cmdline.txt"
# Sizes of the stock overlay in MiB; above 512 a Pi 5 silently gets no CMA at all.
_OVERLAY_SIZES = (128, 192, 256, 320, 384, 448, 512)
_GRAPHICS = re.compile(r"^dtoverlay=vc4-kms-v3d", re.MULTILINE)


def check_cma(context: CheckContext) -> Finding:
    settings = context.settings
    if settings.cma_check == "off":
        return Finding("cma", "skip", "skipped by AX650_CMA_CHECK=off")
    severity = cast(Severity, settings.cma_check)
    words = context.text("/proc/cmdline").split()
    forced = next((word for word in words if word.startswith("cma=")), None)
    total, free = context.size_in_kib("CmaTotal"), context.size_in_kib("CmaFree")
    if forced and context.is_pi_5:
        # The firmware cannot reach memory there: the clock fails, and in the end the boot.
        return Finding(
            "cma",
            severity,
            f"the kernel's command line has {forced}, which can keep a Pi 5 from booting",
            f"sudo cp {_CMDLINE} {_CMDLINE}.bak && "
            f"sudo sed -i -E 's/ ?\\bcma=[^ ]*//g' {_CMDLINE}  # then: sudo reboot",
        )
    if total is None:
        return Finding("cma", "ok", "this kernel sets no contiguous memory (CMA) aside")
    seen = f"{total // 1024} MiB of contiguous memory (CMA), {(free or 0) // 1024} MiB free"
    if total and total >= settings.min_cma_mb * 1024:
        # Almost none free is normal: the kernel lends it out for pages that can be moved.
        return Finding("cma", "ok", seen)
    return Finding(
        "cma", severity, f"{seen}; AX650_MIN_CMA_MB asks for {settings.min_cma_mb}", _more(context)
    )


def _more(context: CheckContext) -> str:
    wanted = context.settings.min_cma_mb
    if not context.at(_CONFIG).is_file():
        return "set AX650_CMA_CHECK=off unless allocations fail: few boards can change this"
    size = next((size for size in _OVERLAY_SIZES if size >= wanted), _OVERLAY_SIZES[-1])
    backup = f"sudo cp {_CONFIG} {_CONFIG}.bak"
    if _GRAPHICS.search(context.text(_CONFIG)):
        # The overlay for the screen sets the pool too, and takes the size as a parameter.
        edit = (
            f"sudo sed -i -E 's/^(dtoverlay=vc4-kms-v3d[^#[:space:]]*)/\\1,cma-{size}/' {_CONFIG}"
        )
    else:
        edit = f"printf '\\n[all]\\ndtoverlay=cma,cma-{size}\\n' | sudo tee -a {_CONFIG}"
    return f"{backup} && {edit}  # then: sudo reboot"
