"""Checks that the loader will find every shared library of the vendor's program.

It does what `ldd` does without running anything; `ldd` runs the program's own loader.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from axproxy.card.environment import child_environment
from axproxy.preflight.context import CheckContext, entries, read
from axproxy.preflight.driver import reinstall
from axproxy.preflight.finding import Finding

_PACKAGES = {
    "libgomp.so.1": "libgomp1",
    "libstdc++.so.6": "libstdc++6",
    "libgcc_s.so.1": "libgcc-s1",
    "libatomic.so.1": "libatomic1",
}
_NEWER_SYSTEM = (
    "install Debian 12, Ubuntu 22.04 or newer; or take an older build of the program from its page"
)
_ORIGIN = re.compile(r"\$(ORIGIN\b|\{ORIGIN\})")
_MULTIARCH = ("aarch64-linux-gnu", "x86_64-linux-gnu")
# What the dynamic loader reads from an ELF file (elf(5), ld.so(8)): segments and tags.
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS, _RPATH, _RUNPATH = 1, 5, 15, 29
# Versions that it defines and asks for: where their list begins, and how many entries that has.
_DEFINED, _DEFINED_COUNT = 0x6FFFFFFC, 0x6FFFFFFD
_ASKED, _ASKED_COUNT = 0x6FFFFFFE, 0x6FFFFFFF
_WEAK = 2  # an asked version that may be missing
_SYSTEM_LIBRARIES = re.compile(r"(lib(c|m|stdc\+\+|gcc_s|pthread|dl|rt)|ld-linux[\w-]*)\.so")


class NotElf(ValueError):
    """The file is not a 64-bit little-endian ELF file, or is damaged."""


@dataclass(frozen=True)
class Linking:
    """What a file tells the loader: `machine` is its number in the header, `search` its folders.

    `asked` are the versions that it needs, with the library of each; `defined` are its own.
    """

    machine: int
    interpreter: str | None
    needed: tuple[str, ...]
    search: tuple[str, ...]
    asked: tuple[tuple[str, str], ...] = ()
    defined: frozenset[str] = frozenset()


@dataclass
class _Search:
    """Follows all the libraries that the program needs through the folders in `path`."""

    context: CheckContext
    path: list[str]
    machine: int
    seen: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    broken: list[Path] = field(default_factory=list)
    found: dict[str, Linking] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # by whom, library, version

    def follow(self, file: Path, linking: Linking, inherited: tuple[str, ...] = ()) -> None:
        self.asked += [(file.name, library, version) for library, version in linking.asked]
        own = tuple(_ORIGIN.sub(lambda _: str(file.parent), place) for place in linking.search)
        for name in linking.needed:
            if name in self.seen:
                continue
            self.seen.add(name)
            found = self._find(name, (*own, *inherited))
            if found is None:
                self.missing.append(name)
            else:
                self.found[name] = found[1]
                self.follow(*found, inherited=(*own, *inherited))

    def outdated(self) -> tuple[str, str, str] | None:
        """Return the first version that no library here defines: who asks, of what, which."""
        for asking, library, version in self.asked:
            defined = self.found[library].defined if library in self.found else None
            if defined and version not in defined:
                return asking, library, version
        return None

    def _find(self, name: str, first: tuple[str, ...]) -> tuple[Path, Linking] | None:
        for place in (*first, *self.path):
            # The folders that a file names itself are real paths, not below `root`.
            file = (Path(place) if place in first else self.context.at(place)) / name
            try:
                linking = read_linking(file)
            except NotElf:
                self.broken.append(file)  # the loader gives up here too
                return None
            except OSError:
                continue
            if linking.machine == self.machine:
                return file, linking
        return None


def check_libraries(context: CheckContext) -> Finding:
    """Search where the loader will search, given the environment of the runtime."""
    program = context.program.resolve()
    try:
        linking = read_linking(program)
    except (OSError, NotElf):
        return Finding("libraries", "skip", f"{program} is not a readable program; see binary")
    loader = linking.interpreter
    if loader and not context.at(loader).exists():
        return Finding(
            "libraries",
            "fail",
            f"{loader} is missing, so this system cannot run the program",
            "install a 64-bit system; on a Pi: Raspberry Pi OS (64-bit)",
        )
    places = [place for place in child_environment()["LD_LIBRARY_PATH"].split(":") if place]
    search = _Search(context, [*places, *system_folders(context)], linking.machine)
    search.follow(program, linking)
    if search.broken:
        return _broken(context, search.broken[0])
    if search.missing:
        return Finding(
            "libraries",
            "fail",
            f"{program.name} needs {' and '.join(search.missing)}, which cannot be found",
            _remedy(context, search.missing[0]),
        )
    if outdated := search.outdated():
        asking, library, version = outdated
        seen = f"{asking} needs {version} of {library}, and the one of this system is older"
        system = _SYSTEM_LIBRARIES.match(library)
        return Finding(
            "libraries", "fail", seen, _NEWER_SYSTEM if system else _remedy(context, library)
        )
    return Finding("libraries", "ok", f"all {len(search.seen)} shared libraries were found")


def _broken(context: CheckContext, file: Path) -> Finding:
    size = file.stat().st_size
    # Where git cannot make symbolic links, those in the vendor's repositories become small texts.
    target = read(file).strip() if size < 256 else ""
    is_link = re.fullmatch(r"[\w./+-]+", target)
    remedy = f"ln -sf {target} {file}" if is_link else reinstall(context)
    return Finding("libraries", "fail", f"{file} is not a library ({size} bytes)", remedy)


def _remedy(context: CheckContext, name: str) -> str:
    if package := _PACKAGES.get(name):
        return f"sudo apt install {package}"
    if name.startswith(("libaxcl", "libspdlog", "libax_")):
        return reinstall(context, "sudo ldconfig")
    return f"apt-file search {name}  # then install the package it names"


def system_folders(context: CheckContext) -> list[str]:
    """Return the folders of ld.so.conf and the default ones, in the loader's order."""
    configs = [context.at("/etc/ld.so.conf"), *entries(context.at("/etc/ld.so.conf.d"))]
    named = [
        line.strip()
        for config in configs
        for line in re.sub(r"#.*", "", read(config)).splitlines()
        if line.strip().startswith("/")
    ]
    usual = [f"{base}/{kind}" for kind in _MULTIARCH for base in ("/lib", "/usr/lib")]
    return [*named, *usual, "/lib64", "/usr/lib64", "/lib", "/usr/lib"]


def read_linking(path: Path) -> Linking:
    """Return what the file asks of the loader.  Raises `NotElf`, or `OSError` if unreadable."""
    with path.open("rb") as file:
        image = file.read()
    if image[:6] != b"\x7fELF\x02\x01":
        raise NotElf(f"{path} is not a 64-bit ELF file")
    try:
        return _linking(image)
    except (struct.error, ValueError, LookupError) as error:
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
        raise ValueError("it has no string table")

    def offset_of(wanted: int) -> int:
        for kind, offset, address, size in segments:
            if kind == _LOAD and address <= wanted < address + size:
                return int(wanted - address + offset)
        raise ValueError("a table is outside of its segments")

    base, tags = offset_of(strings), dict(entries)

    def names(*tags: int) -> tuple[str, ...]:
        return tuple(_string(image, base + value) for tag, value in entries if tag in tags)

    paths = names(_RUNPATH) or names(_RPATH)
    search = tuple(part for path in paths for part in path.split(":") if part)
    asked, defined = tags.get(_ASKED), tags.get(_DEFINED)
    return Linking(
        machine,
        interpreter,
        names(_NEEDED),
        search,
        tuple(_asked(image, offset_of(asked), tags[_ASKED_COUNT], base)) if asked else (),
        frozenset(_defined(image, offset_of(defined), tags[_DEFINED_COUNT], base))
        if defined
        else frozenset(),
    )


def _asked(image: bytes, at: int, count: int, strings: int) -> Iterator[tuple[str, str]]:
    """Yield library and version of each entry in the list of asked versions (Elf64_Verneed)."""
    for _ in range(count):
        _, versions, file, first, following = struct.unpack_from("<HHIII", image, at)
        entry = at + first
        for _ in range(versions):
            _, flags, _, name, further = struct.unpack_from("<IHHII", image, entry)
            if not flags & _WEAK:
                yield _string(image, strings + file), _string(image, strings + name)
            entry += further
        at += following


def _defined(image: bytes, at: int, count: int, strings: int) -> Iterator[str]:
    """Yield the versions in the list of those that a library defines (Elf64_Verdef)."""
    for _ in range(count):
        first, following = struct.unpack_from("<II", image, at + 12)
        (name,) = struct.unpack_from("<I", image, at + first)
        yield _string(image, strings + name)
        at += following


def _string(image: bytes, at: int) -> str:
    return image[at : image.index(b"\0", at)].decode()
