"""Writes a small file of the store as a whole, or not at all."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

_writes = itertools.count()  # two requests may write the same file at once


def write_whole(target: Path, content: str) -> None:
    """Write a file that a power cut leaves as it was, or as it shall be.  Raises `OSError`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f"{target.stem}.{next(_writes)}.new")
    try:
        with work.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(work, target)
    except OSError:  # the disk is full: leave no half of a file on it
        work.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
