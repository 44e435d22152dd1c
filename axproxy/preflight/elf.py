"""The few facts of an ELF file that the dynamic loader starts from (elf(5), ld.so(8))."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS, _RPATH, _RUNPATH = 1, 5, 15, 29


class NotElf(ValueError):
    """The file is no 64-bit little-endian ELF file, or is damaged."""


@dataclass(frozen=True)
class Linking:
    """`machine` is the number of the header; `search` what the file adds to the loader's path."""

    machine: int
    interpreter: str | None
    needed: tuple[str, ...]
    search: tuple[str, ...]


def read_linking(path: Path) -> Linking:
    """Raises `NotElf`, or `OSError` when it cannot be read."""
    with path.open("rb") as file:
        image = file.read()
    if image[:6] != b"\x7fELF\x02\x01":
        raise NotElf(f"{path} is no 64-bit ELF file")
    try:
        return _linking(image)
    except (struct.error, ValueError, IndexError) as error:
        raise NotElf(f"{path} is damaged ({error})") from error


def _linking(image: bytes) -> Linking:
    (machine,) = struct.unpack_from("<H", image, 18)
    (table,) = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    # Type, offset in the file, address in memory, size in the file.
    segments = [
        (kind, offset, address, length)
        for kind, _, offset, address, _, length in (
            struct.unpack_from("<IIQQQQ", image, table + index * size) for index in range(count)
        )
    ]
    interpreter = next(
        (_string(image, offset) for kind, offset, *_ in segments if kind == _INTERPRETER), None
    )
    dynamic = next(((o, n) for kind, o, _, n in segments if kind == _DYNAMIC), None)
    if dynamic is None:
        return Linking(machine, interpreter, (), ())
    start, length = dynamic
    entries = [struct.unpack_from("<qQ", image, start + at) for at in range(0, length, 16)]
    strings = next((value for tag, value in entries if tag == _STRINGS), None)
    if strings is None:
        raise ValueError("it has no names")
    base = next(
        strings - address + offset
        for kind, offset, address, size_ in segments
        if kind == _LOAD and address <= strings < address + size_
    )

    def names(*tags: int) -> tuple[str, ...]:
        return tuple(_string(image, base + value) for tag, value in entries if tag in tags)

    paths = names(_RUNPATH) or names(_RPATH)
    search = tuple(part for path in paths for part in path.split(":") if part)
    return Linking(machine, interpreter, names(_NEEDED), search)


def _string(image: bytes, at: int) -> str:
    return image[at : image.index(b"\0", at)].decode()
