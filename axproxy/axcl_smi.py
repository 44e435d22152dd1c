"""Which cards the driver knows, asked of the vendor's `axcl-smi`.

It always exits 0, prints its errors among the output, refuses to run twice at once, and can hang
when a card is dead; a card row is the only proof of a card.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import threading
from pathlib import Path

INSTALLED = Path("/usr/bin/axcl/axcl-smi")  # on PATH in login shells only
PATIENCE = 10.0  # seconds

# "|    0  AX650N   V3.4.0 | 0001:01:00.0 |  193 MiB / 945 MiB |": the first column is the index
# that `--devices` takes.  (The "Device ID" of other sub-commands is the PCIe bus number.)
_CARD_ROW = re.compile(r"^\|\s+(\d+)\s.*\|\s*[0-9A-F]{4}:[0-9A-F]{2}:[0-9A-F]{2}\.[0-9A-F]\s*\|")

log = logging.getLogger(__name__)


def card_indices(output: str) -> list[int]:
    """The `Card` column of the summary table, in order."""
    return [int(row[1]) for line in output.splitlines() if (row := _CARD_ROW.match(line))]


def first_card(configured: Path | None) -> str:
    """The index of the first card for the runtime's `--devices`.

    Where `axcl-smi` cannot tell, that is 0, the only card of nearly every machine; the runtime
    itself says so when there is none.
    """
    program = configured or shutil.which("axcl-smi") or INSTALLED
    try:
        asked = subprocess.Popen(
            [str(program)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
    except OSError as error:
        log.warning("cannot ask %s for the card (%s); trying card 0", program, error)
        return "0"
    try:
        answer, _ = asked.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        asked.kill()
        # Stuck in the driver it may not die either, so it is not we who wait for that.
        threading.Thread(target=asked.communicate, daemon=True).start()
        log.warning("cannot ask %s for the card (%s); trying card 0", program, error)
        return "0"
    if cards := card_indices(answer):
        return str(cards[0])
    log.warning("%s lists no card; trying card 0. It said: %s", program, answer.strip()[-300:])
    return "0"
