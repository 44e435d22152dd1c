"""Which repository of the hub a client's name for a model means."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("hub_models.toml")
OWN_TABLE = "models.toml"  # in the store
NEWEST = "main"  # the hub's name for it

_HOSTS = ("hf.co/", "huggingface.co/", "https://hf.co/", "https://huggingface.co/")
_REPOSITORY = re.compile(r"([\w-][\w.-]{0,95})/([\w-][\w.-]{0,95})", re.ASCII)
_REVISION = re.compile(r"[\w-][\w.-]{0,99}", re.ASCII)


class UnknownSource(ValueError):
    """The name means no repository; the message says which names do."""


@dataclass(frozen=True)
class Source:
    """A repository at a revision.

    `name` is what clients call the model, None for its folder's; `context_length` is in tokens,
    None where it is not known.
    """

    repository: str
    revision: str = NEWEST
    name: str | None = None
    context_length: int | None = None

    @property
    def folder(self) -> str:
        """The name of the model's folder in the store."""
        return self.repository.partition("/")[2]


def source_of(name: str, own_table: Path | None = None) -> Source:
    """Return the source of `qwen3:1.7b`, `ORG/REPO[:REVISION]` or `hf.co/ORG/REPO[:REVISION]`.

    `own_table` is the owner's file with further names.  Raises `UnknownSource`.
    """
    name = name.strip()
    table = {**_shipped(), **(_read(own_table) if own_table else {})}
    wanted = name.lower().removesuffix(":latest")
    if source := table.get(wanted):
        return source
    rest = next((name[len(host) :] for host in _HOSTS if name.lower().startswith(host)), name)
    repository, _, revision = rest.partition(":")
    revision = NEWEST if revision in ("", "latest") else revision
    well_formed = _REPOSITORY.fullmatch(repository) and _REVISION.fullmatch(revision)
    if well_formed and ".." not in rest:
        return Source(repository, revision)
    near = difflib.get_close_matches(wanted, table, n=3, cutoff=0.4)
    offered = ", ".join(near or list(table)[:6])
    raise UnknownSource(
        f"'{name}' is not a model that is known here; try {offered}, or ORG/REPO of huggingface.co"
    )


def known_context(repository: str, revision: str) -> int | None:
    """Return the context length of a build in the shipped table, in tokens; None if not known."""
    for source in _shipped().values():
        if (source.repository, source.revision) == (repository, revision):
            return source.context_length
    return None


def known_names(own_table: Path | None = None) -> list[str]:
    """Return the names of the tables."""
    return list({**_shipped(), **(_read(own_table) if own_table else {})})


@cache
def _shipped() -> Mapping[str, Source]:
    return _read(TABLE)


def _read(file: Path) -> Mapping[str, Source]:
    try:
        rows = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UnknownSource(f"cannot read {file}: {error}; fix or remove it") from error
    table: dict[str, Source] = {}
    for name, row in rows.items():
        values = row if isinstance(row, dict) else {}
        repository, revision = values.get("repository"), values.get("revision", NEWEST)
        if not isinstance(repository, str) or not _REPOSITORY.fullmatch(repository):
            repository = None
        if repository is None or not isinstance(revision, str):
            raise UnknownSource(f'["{name}"] in {file} needs repository = "ORG/REPO"; correct it')
        context = values.get("context_length")
        context = context if type(context) is int and context > 1 else None
        table[name.lower()] = Source(repository, revision, name, context)
    return table
