"""How many tokens a model's window has, as far as that is known before the model is loaded.

It is compiled into the model's files, and the vendor's program reports it while it loads them.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path

from axproxy.models.stored_file import write_whole

FILE = ".contexts.json"  # in the store
_LARGEST = 1 << 20  # bytes
_LONGEST = 1_000_000  # tokens

# AXERA's names of builds: "C128-P1152-CTX2047", "C256-P10K-CTX12K", "C128_P1280_CTX1407".  The "4k"
# builds are named CTX4095 elsewhere, so a K is 1024 tokens, less one for the token that is made.
_IN_NAME = re.compile(r"(?<![a-z])ctx[-_]?(\d{1,6})(k?)(?![a-z0-9])", re.IGNORECASE)

log = logging.getLogger(__name__)


def context_in(*names: str) -> int | None:
    """Return the context length that the first of these names of a build says, in tokens."""
    for name in names:
        if found := _IN_NAME.search(name):
            number = int(found[1])
            length = number * 1024 - 1 if found[2] else number
            if 1 < length <= _LONGEST:
                return length
    return None


def shorter(length: int | None, most: int | None) -> int | None:
    """Return the context length under the setting `AX650_CONTEXT_LENGTH`, which is `most`."""
    return min(length, most) if length and most else length


class ReportedContexts:
    """What the program has reported of the models of one store, by their digests.  Any thread."""

    def __init__(self, place: Path) -> None:
        self._file = place / FILE
        self._known: Mapping[str, int] = _read(self._file)

    def get(self, digest: str) -> int | None:
        """Return the context length of an earlier load, None without one.  From memory."""
        return self._known.get(digest)

    def note(self, digest: str, length: int) -> None:
        """Keep what was reported; writes a file where that is new."""
        if self._known.get(digest) == length:
            return
        self._known = {**self._known, digest: length}
        try:
            write_whole(self._file, json.dumps(self._known, indent=1))
        except OSError as error:  # until the next start it is in memory
            log.warning("cannot write %s (%s); make room, or fix its rights", self._file, error)


def _read(file: Path) -> dict[str, int]:
    """Return the good entries of the file; it can be made anew, so a damaged one is no error."""
    try:
        with file.open("rb") as source:
            entries = json.loads(source.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(entries, dict):
        return {}
    return {
        digest: length
        for digest, length in entries.items()
        if type(length) is int and 1 < length <= _LONGEST
    }
