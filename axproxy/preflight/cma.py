"""The host's contiguous memory (CMA): told, warned about, and a gate only where that is asked for.

The model's weights lie in the card's own memory.  Of the host's CMA the driver takes some MiB
whatever the model is, and falls back to ordinary pages (read from the driver's source).
"""

from __future__ import annotations

import re
from typing import cast

from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding, Severity

_CONFIG = "/boot/firmware/config.txt"
_CMDLINE = "/boot/firmware/cmdline.txt"
# What the stock overlay offers, in MiB; above 512 a Pi 5 silently ends up with none at all.
_OVERLAY_SIZES = (128, 192, 256, 320, 384, 448, 512)
_GRAPHICS = re.compile(r"^dtoverlay=vc4-kms-v3d", re.MULTILINE)


def check_cma(context: CheckContext) -> Finding:
    settings = context.settings
    if settings.cma_check == "off":
        return Finding("cma", "skip", "left out by AX650_CMA_CHECK=off")
    speak = cast(Severity, settings.cma_check)
    words = context.text("/proc/cmdline").split()
    forced = next((word for word in words if word.startswith("cma=")), None)
    total, free = context.size_in_kib("CmaTotal"), context.size_in_kib("CmaFree")
    if forced and context.is_pi_5:
        # The pool then lies where the firmware cannot reach it: no clock, no boot in the end.
        return Finding(
            "cma",
            speak,
            f"the kernel's command line has {forced}, which can keep a Pi 5 from booting",
            f"sudo cp {_CMDLINE} {_CMDLINE}.bak && "
            f"sudo sed -i -E 's/ ?\\bcma=[^ ]*//g' {_CMDLINE}  # then: sudo reboot",
        )
    if total is None:
        return Finding("cma", "ok", "this kernel sets no contiguous memory (CMA) aside")
    seen = f"{total // 1024} MiB of contiguous memory (CMA), {(free or 0) // 1024} MiB free"
    if total and total >= settings.min_cma_mb * 1024:
        # Nearly none free is normal: the kernel lends it out to whatever can be moved.
        return Finding("cma", "ok", seen)
    return Finding(
        "cma", speak, f"{seen}; AX650_MIN_CMA_MB asks for {settings.min_cma_mb}", _more(context)
    )


def _more(context: CheckContext) -> str:
    wanted = context.settings.min_cma_mb
    if not context.at(_CONFIG).is_file():
        return "AX650_CMA_CHECK=off, unless allocations really fail: few boards can change this"
    size = next((size for size in _OVERLAY_SIZES if size >= wanted), _OVERLAY_SIZES[-1])
    backup = f"sudo cp {_CONFIG} {_CONFIG}.bak"
    if _GRAPHICS.search(context.text(_CONFIG)):
        # The overlay for the screen sets the pool, too, and takes the size as a parameter.
        edit = (
            f"sudo sed -i -E 's/^(dtoverlay=vc4-kms-v3d[^#[:space:]]*)/\\1,cma-{size}/' {_CONFIG}"
        )
    else:
        edit = f"printf '\\n[all]\\ndtoverlay=cma,cma-{size}\\n' | sudo tee -a {_CONFIG}"
    return f"{backup} && {edit}  # then: sudo reboot"
