"""How a card that has died shows on the runtime's output, and what has brought cards back.

Nothing here, nor anywhere in the service, resets a card or a host: other programs may use them.
"""

from __future__ import annotations

import re

# Lines of the AXCL library and of the runtime (vendor's sources and users' logs).  The program goes
# on after any of them, and says 100 %, "ok", and an answer.
DEAD = re.compile(
    r"AX_ENGINE_(?:CreateHandle|Execute)"
    r"|Decode api\(\d+\) response failed"
    r"|request ports from device"
    r"|device [0-9a-fA-F]{1,4} is dead"
    r"|device \d{1,4} is not connected"
    r"|[Rr]ecv port ack timeout"
    r"|recv dma size \d+ is not equal to"
    r"|send \d+ bytes, but 0 bytes sent"
    r"|[GS]et AXCL device failed"
    r"|reset_device failed"
)

# A runtime that dies of the card once is started again, which is the first thing that can help.
TRIES = 2


def ladder(number: int = 0) -> str:
    """What to try, mildest first; `number` is what `axcl-smi -d` calls the card."""
    return (
        "try each once, mildest first: stop every program that uses the card and wait 15 s; "
        f"echo y | sudo /usr/bin/axcl/axcl-smi reboot -d {number}; sudo reboot; "
        "power off at the wall, for a reboot does not cut the card's power"
    )


def hopeless(sign: str | None, deaths: int, number: int = 0) -> str | None:
    """Why the runtime need not be started again after so many deaths in a row, or `None`; `sign` is
    what its output showed of the card."""
    if sign is None or deaths < TRIES:
        return None
    return f"the card does not work any more ({sign}); {ladder(number)}"
