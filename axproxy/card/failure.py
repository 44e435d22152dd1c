"""How a dead card shows in the runtime's output, and the steps that have revived cards.

Nothing in the service resets a card or the host: other programs may be using them.
"""

from __future__ import annotations

import re

# Lines of the AXCL library and of the runtime (vendor's sources and users' logs).  After any of
# them the program goes on: it prints 100 %, "ok" and an answer.
DEAD_CARD = re.compile(
    r"AX_ENGINE_(?:CreateHandle|Execute)"
    r"|Decode api\(\d{1,20}\) response failed"
    r"|request ports from device"
    r"|device [0-9a-fA-F]{1,4} is dead"
    r"|device \d{1,4} is not connected"
    r"|[Rr]ecv port ack timeout"
    r"|recv dma size \d{1,20} is not equal to"
    r"|send \d{1,20} bytes, but 0 bytes sent"
    r"|[GS]et AXCL device failed"
    r"|reset_device failed"
)

# At a load, a line of a model file that the card refuses, with the file where it is named.  The
# first is the library's; it says nothing about which file, and nothing about a dead card.
REFUSED_FILE = re.compile(
    r"AX_ENGINE_CreateHandle|init (?:post )?axmodel\((?P<file>[^()]*)\) failed"
)

# After the first failure of the card the runtime is restarted once: that is the first thing that
# can help.
MAX_FAILURES = 2


def recovery_steps(number: int | str = 0, until_v2_25: int | None = None) -> str:
    """Return what to try, mildest first.

    `number` is the card's number for `axcl-smi -d`, `until_v2_25` the one that older versions of
    the tool take, where the version is not known.
    """
    older = "" if until_v2_25 in (None, number) else f" (up to V2.25: -d {until_v2_25})"
    return (
        "try these in order until one helps: stop every program that uses the card and wait 15 s; "
        f"echo y | sudo /usr/bin/axcl/axcl-smi reboot -d {number}{older}; sudo reboot; "
        "power off at the wall (a reboot does not cut the card's power)"
    )


def why_refused(file: str) -> str:
    """Return what it means that the card refuses a model file; `file` may be empty."""
    which = f"the model file {file.rpartition('/')[2]}" if file else "a model file"
    return (
        f"the card refused {which}: it is damaged, made for another chip, or the card has no "
        "memory left for it; compare the files with the model's page, look at CMM-Usage in axcl-smi"
    )


def why_hopeless(sign: str | None, failures: int, number: int = 0) -> str | None:
    """Return why starting the runtime again is useless, or `None` if it may help.

    `sign` is the line of the runtime's output that shows a dead card, `failures` how many times in
    a row it has ended, `number` the card's number for `axcl-smi -d`.  A refused model file is no
    such sign.
    """
    if sign is None or REFUSED_FILE.search(sign) or failures < MAX_FAILURES:
        return None
    return f"the card no longer works ({sign}); {recovery_steps(number)}"
