"""Recognises what a file really is from its first bytes, whatever its name."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

HEAD_BYTES = 512  # a git-LFS pointer has about 132
MACHINES = {3: "x86", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}  # elf(5)

_TEXT = frozenset(range(32, 256)) | {9, 10, 13}


@dataclass(frozen=True)
class Elf:
    """A program or library for `machine`, as `uname -m` names it."""

    machine: str


@dataclass(frozen=True)
class WrongFile:
    """A file that is not what its name promises; `what` completes the sentence "it is …"."""

    what: str
    remedy: str


@dataclass(frozen=True)
class UnknownFile:
    """A file that its first bytes do not identify; `script` if it begins with `#!`."""

    script: bool = False


def kind_of(path: Path) -> Elf | WrongFile | UnknownFile:
    """Return the kind of the file.  Raises `OSError` if it cannot be read."""
    with path.open("rb") as file:
        return kind_of_bytes(file.read(HEAD_BYTES), path)


def kind_of_bytes(head: bytes, path: Path) -> Elf | WrongFile | UnknownFile:
    """Return the kind of a file that begins with `head`: its first `HEAD_BYTES`, or all of it."""
    if head.startswith(b"\x7fELF") and len(head) >= 20:
        order = ">" if head[5] == 2 else "<"
        number = struct.unpack_from(f"{order}H", head, 18)[0]
        return Elf(MACHINES.get(number, f"machine number {number}"))
    if head.startswith(b"version https://git-lfs"):
        return WrongFile(
            "a git-LFS pointer, not the file itself", f"cd {path.parent} && git lfs pull"
        )
    again = f"download {path.name} again, signed in to the site if it asks for that"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return WrongFile("a saved web page, most likely an error page", again)
    if head.startswith(b"#!"):
        return UnknownFile(script=True)
    if 0 < len(head) < HEAD_BYTES and _TEXT.issuperset(head) and not head.startswith((b"{", b"[")):
        # A file in the place of a program has held "Invalid username or password."
        lines = head.decode(errors="replace").strip().splitlines() or [""]
        return WrongFile(f"a text file, {lines[0][:80]!r}, left by a failed download", again)
    return UnknownFile()
