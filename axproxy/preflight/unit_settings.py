"""Reads the settings that systemd gives the installed service, for a doctor that is run by hand.

A shell has none of them.  The rules are systemd's own (systemd.exec(5), `EnvironmentFile=`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from axproxy.preflight.finding import Finding
from axproxy.settings import PREFIX

UNIT = "ax650.service"
_UNIT_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS = (PREFIX, "OLLAMA_")


@dataclass
class UnitSettings:
    """The variables of the unit, and what is wrong with the files that they come from.

    `unread` are the files that this user may not read; `bad` are lines that systemd ignores, each
    with its reason.
    """

    values: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)  # "file, line n" by variable
    files: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    def environment(self, shell: Mapping[str, str]) -> dict[str, str]:
        """Return the environment that the doctor looks at: the unit's, then this shell's."""
        return {**self.values, **{name: shell[name] for name in self._of_shell(shell)}}

    def finding(self, shell: Mapping[str, str], program: Path, running: bool) -> Finding:
        """Return whether these are the service's settings.

        A service that is `running` reports what matters of them itself.
        """
        if self.unread:
            seen = f"this user may not read the service's settings in {self.unread[0]}"
            python = program / ".venv" / "bin" / "python"
            again = f"sudo {python} {program / 'backend.py'} doctor"
            return Finding("settings", "warn" if running else "fail", seen, again)
        if self.bad:
            return Finding("settings", "fail", *self.bad[0].rsplit("; ", 1))
        listed = ", ".join(map(str, self.files)) or f"none but those of {UNIT}"
        here = self._of_shell(shell)
        differing = [name for name in here if shell[name] != self.values.get(name)]
        if differing:
            return Finding(
                "settings",
                "warn",
                f"{' and '.join(differing)} of this shell is used here; the service has {listed}",
                f"unset {' '.join(differing)}",
            )
        return Finding("settings", "ok", f"the service's settings: {listed}")

    def place_of(self, message: str) -> str:
        """Return where the first variable in `message` was set, as a beginning of a sentence."""
        found = [place for name, place in self.places.items() if name in message.split()]
        return f"{found[0]}: " if found else ""

    def _of_shell(self, shell: Mapping[str, str]) -> list[str]:
        return [name for name in shell if name.startswith(_OURS)]


def read_unit_settings(program: Path, root: Path = Path("/")) -> UnitSettings | None:
    """Return the settings of the unit that runs the program in this folder; `None` without one."""
    lines = list(_unit_lines(root))
    if ("WorkingDirectory", str(program)) not in lines:
        return None
    settings = UnitSettings()
    for key, value in lines:
        if key == "Environment":
            for word in _words(value):
                name, _, text = word.partition("=")
                settings.values[name] = text
    for key, value in lines:
        if key == "EnvironmentFile":
            _read_file(settings, root / value.lstrip("-").lstrip("/"), value.lstrip("-"))
    return settings


def _unit_lines(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the assignments of the unit and of its drop-ins, which come later and win."""
    for place in _UNIT_FOLDERS:
        folder = root / place.lstrip("/")
        if (folder / UNIT).is_file():
            drop_ins = sorted((root / "etc/systemd/system" / f"{UNIT}.d").glob("*.conf"))
            for file in (folder / UNIT, *drop_ins):
                yield from _assignments(file)
            return


def _assignments(file: Path) -> Iterator[tuple[str, str]]:
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return
    for line in text.replace("\\\n", " ").splitlines():
        key, sign, value = line.strip().partition("=")
        if sign and not key.startswith(("#", ";")):
            yield key.strip(), value.strip()


def _words(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError:
        return []


def _read_file(settings: UnitSettings, file: Path, name: str) -> None:
    try:
        text = file.read_text(errors="replace")
    except FileNotFoundError:
        return
    except OSError:
        settings.unread.append(Path(name))
        return
    settings.files.append(Path(name))
    lines = enumerate(text.split("\n"), 1)
    for number, line in lines:
        whole = line
        while whole.endswith("\\") and (following := next(lines, None)):
            whole = whole[:-1] + following[1]
        stripped = whole.strip()
        if not stripped or stripped.startswith(("#", ";")):
            continue
        variable, sign, value = stripped.partition("=")
        variable = variable.strip()
        if problem := _problem(variable, sign, value):
            settings.bad.append(f"{name}, line {number}, is ignored by systemd: {problem}")
            continue
        settings.values[variable] = _unquoted(value.strip())
        settings.places[variable] = f"{name}, line {number}"


def _problem(variable: str, sign: str, value: str) -> str | None:
    """Return what is wrong with an assignment, and what to write instead."""
    first, _, rest = variable.partition(" ")
    if first == "export" and _NAME.fullmatch(rest.strip()):
        return f"it begins with export; write {rest.strip()}={_hidden(rest, value)}"
    if not sign:
        return f"it has no =; write NAME=value, or # in front of {variable.split(maxsplit=1)[0]!r}"
    if not _NAME.fullmatch(variable):
        return f"{variable!r} is no name of a variable; write NAME=value"
    return None


def _hidden(variable: str, value: str) -> str:
    """Return the value as far as it may be shown."""
    return "…" if "KEY" in variable else value.strip()


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1] if value[0] == "'" else re.sub(r"\\(.)", r"\1", value[1:-1])
    return value
