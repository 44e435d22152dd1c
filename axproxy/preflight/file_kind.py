"""What a file really is, whatever its name says: read from its first bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

HEAD = 512  # bytes; a git-LFS pointer has about 132
MACHINES = {3: "x86", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}  # elf(5)

_TEXT = frozenset(range(32, 256)) | {9, 10, 13}


@dataclass(frozen=True)
class Elf:
    """A program or library; `machine` as `uname -m` names it."""

    machine: str


@dataclass(frozen=True)
class WrongFile:
    """Something else than what the name promises; `what` continues the sentence "it is …"."""

    what: str
    remedy: str


@dataclass(frozen=True)
class Other:
    """Nothing that we know by its first bytes; `script` if it begins with `#!`."""

    script: bool = False


def kind_of(path: Path) -> Elf | WrongFile | Other:
    """Raises `OSError` when the file cannot be read."""
    with path.open("rb") as file:
        return kind_of_bytes(file.read(HEAD), path)


def kind_of_bytes(head: bytes, path: Path) -> Elf | WrongFile | Other:
    """`head` is the first bytes, all of them if the file is shorter than `HEAD`."""
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
        return Other(script=True)
    if 0 < len(head) < HEAD and _TEXT.issuperset(head) and not head.startswith((b"{", b"[")):
        # "Invalid username or password." has been found where a program should be.
        said = head.decode(errors="replace").strip().splitlines() or [""]
        return WrongFile(f"a text that says {said[0][:80]!r}, left by a failed download", again)
    return Other()
