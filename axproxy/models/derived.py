"""Models that are derived from another one: its files, with other defaults.

Each is a small file in the store, written as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from axproxy.messages import Message
from axproxy.models.model import Model, ModelDefaults
from axproxy.models.names import same_model
from axproxy.models.stored_file import write_whole

DERIVED = ".derived"  # in the store
_LARGEST = 1 << 20  # bytes of one file
# Every request looks through them, and all of them are in memory.
MOST, MOST_BYTES = 100, 16 << 20
_LONGEST_FILE_NAME = 200  # bytes; file systems allow 255


class TooManyDerived(ValueError):
    """One more created model would take too much memory; the message says what to do."""


@dataclass(frozen=True)
class _Made:
    """What one file says, read once.  `own` is the digest of what it adds to its base."""

    name: str
    base: str
    parent: str
    copy_of: str
    created: datetime | None
    defaults: ModelDefaults
    own: str


class DerivedModels:
    """The derived models of one store.  Any thread; a file is read again when one has changed."""

    def __init__(self, place: Path) -> None:
        self._folder = place / DERIVED
        self._known: tuple[int, list[_Made]] = (-1, [])

    def models(self, bases: list[Model]) -> list[Model]:
        """Return those whose base is among `bases`, in the order of their names."""
        found = []
        for made in self._all():
            base = next((base for base in bases if same_model(made.base, base.name)), None)
            if base:
                found.append(_derived(made, base))
        return found

    def made_from(self, base: Model) -> list[str]:
        """Return the names of those that have the files of `base`."""
        return [made.name for made in self._all() if same_model(made.base, base.name)]

    def create(self, name: str, base: Model, defaults: ModelDefaults, *, copy: bool) -> Model:
        """Write a derived model; one of the same name is replaced.

        Raises `OSError`, and `TooManyDerived`.
        """
        row = {
            "name": name,
            "base": base.base or base.name,
            "parent": base.parent if copy else base.name,
            "copy_of": base.digest if copy else "",
            "created": datetime.now(UTC).isoformat(),
            "system": defaults.system,
            "parameters": dict(defaults.parameters),
            "license": list(defaults.license),
            "messages": [
                {"role": message.role, "content": message.content} for message in defaults.messages
            ],
        }
        text = json.dumps(row, indent=1)
        self._require_room(self._file(name), len(text))  # it is ASCII
        write_whole(self._file(name), text)
        # The folder's time may not change when two files are written within one tick of the clock.
        self._known = (-1, [])
        return _derived(_made(row), base)

    def _require_room(self, file: Path, size: int) -> None:
        others = [path for path in self._files() if path != file]
        if size > _LARGEST:
            largest = f"{_LARGEST >> 20} MiB"
            raise TooManyDerived(f"the model's texts are larger than {largest}; shorten them")
        if len(others) >= MOST or sum(path.stat().st_size for path in others) + size > MOST_BYTES:
            raise TooManyDerived("there are too many created models; delete some of them")

    def delete(self, name: str) -> bool:
        """Remove a derived model; return whether there was one.  Raises `OSError`."""
        try:
            self._file(name).unlink()
        except FileNotFoundError:
            return False
        self._known = (-1, [])
        return True

    def damaged(self) -> list[Path]:
        """Return the files that cannot be read."""
        return [path for path in self._files() if _row(path) is None]

    def without_base(self, names: Collection[str]) -> list[tuple[Path, str, str]]:
        """Return file, name and base of those whose base is not among `names`."""
        rows = [(path, _row(path) or {}) for path in self._files()]
        return [
            (path, row["name"], row["base"])
            for path, row in rows
            if row and not any(same_model(row["base"], name) for name in names)
        ]

    def _file(self, name: str) -> Path:
        stem = quote(name.lower(), safe="")
        if len(stem) > _LONGEST_FILE_NAME:  # Ollama allows names of 600 characters
            stem = hashlib.sha256(stem.encode()).hexdigest()
        return self._folder / f"{stem}.json"

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))

    def _all(self) -> list[_Made]:
        try:
            changed = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return []
        if self._known[0] != changed:
            made = [_made(row) for path in self._files() if (row := _row(path))]
            self._known = (changed, made)
        return self._known[1]


def _row(path: Path) -> Mapping[str, Any] | None:
    try:
        with path.open("rb") as file:
            row = json.loads(file.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return None
    texts = ("name", "base", "parent", "copy_of", "created", "system")
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in texts):
        return None
    lists = (row.get("messages"), row.get("license"))
    if not isinstance(row.get("parameters"), dict) or not all(
        isinstance(each, list) for each in lists
    ):
        return None
    return row


def _made(row: Mapping[str, Any]) -> _Made:
    own = [row[key] for key in ("system", "parameters", "license", "messages")]
    defaults = ModelDefaults(
        system=row["system"],
        parameters=row["parameters"],
        license=tuple(text for text in row["license"] if isinstance(text, str)),
        messages=tuple(
            Message(str(each.get("role", "")), str(each.get("content", "")))
            for each in row["messages"]
            if isinstance(each, dict)
        ),
    )
    return _Made(
        name=row["name"],
        base=row["base"],
        parent=row["parent"],
        copy_of=row["copy_of"],
        created=_time(row["created"]),
        defaults=defaults,
        own=hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest(),
    )


def _derived(made: _Made, base: Model) -> Model:
    # As in Ollama, by what it is made of, and not by its name or its time.
    digest = hashlib.sha256(f"{base.digest} {made.own}".encode()).hexdigest()
    defaults = replace(
        made.defaults, keep_alive=base.defaults.keep_alive, think=base.defaults.think
    )
    return replace(
        base,
        name=made.name,
        digest=made.copy_of or digest,
        modified_at=made.created or base.modified_at,
        defaults=defaults,
        parent=made.parent,
        base=base.name,
    )


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None
