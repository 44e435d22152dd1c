"""The file of named API keys: its lines, and the key that a client sends.

A key is 256 random bits, which cannot be guessed, so its SHA-256 is enough in the file: a slow hash
protects passwords that people choose, and would cost a Pi a tenth of a second for each request.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PREFIX = "ax650-"  # of new keys, so that people and scanners of secrets know one
LARGEST_LIMIT = 10_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_NUMBER = re.compile(r"[0-9]{1,5}")


class BadKeyLine(ValueError):
    """The file of keys is not as it must be; the message is a sentence without the file's name."""


@dataclass(frozen=True)
class NamedKey:
    """One key, known by its `digest`, and what its owner may do.

    `waiting` is how many requests may wait beside the one that is answered, `rate` how many may
    come in a minute; None means no limit.  Without `models` every model may be used.  An `operator`
    may do all that `AX650_API_KEY` may.
    """

    name: str
    digest: str
    waiting: int | None = None
    rate: int | None = None
    models: tuple[str, ...] = ()
    operator: bool = False

    def line(self) -> str:
        """Return the line of the file, without its end."""
        words = [self.name, f"sha256:{self.digest}"]
        words += [f"waiting={self.waiting}"] if self.waiting is not None else []
        words += [f"rate={self.rate}"] if self.rate is not None else []
        words += [f"models={','.join(self.models)}"] if self.models else []
        words += ["operator"] if self.operator else []
        return " ".join(words)


def new_key() -> str:
    """Return a key that was never given before."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(key: bytes) -> str:
    """Return what the file holds of a key."""
    return hashlib.sha256(key).hexdigest()


def find_key(keys: Sequence[NamedKey], sent: Iterable[bytes]) -> NamedKey | None:
    """Return the key that is among those sent; it takes the same time whichever that is."""
    found = None
    for digest in map(digest_of, sent):
        for key in keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
    return found


def parse_keys(text: str) -> tuple[NamedKey, ...]:
    """Return the keys of a file's text.  Raises `BadKeyLine`."""
    keys: list[NamedKey] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            key = _parsed(words)
        except BadKeyLine as error:
            raise BadKeyLine(f"line {number}: {error}") from None
        if any(key.name == other.name or key.digest == other.digest for other in keys):
            raise BadKeyLine(f"line {number}: there is such a key already, {key.name}")
        keys.append(key)
    return tuple(keys)


def check_name(name: str) -> str:
    """Return the name of a key.  Raises `BadKeyLine`."""
    if not _NAME.fullmatch(name):
        raise BadKeyLine(f"a name has letters, digits and ._- only, at most 64, not {name[:80]!r}")
    return name


def _parsed(words: Sequence[str]) -> NamedKey:
    name = check_name(words[0])
    digest = _DIGEST.fullmatch(words[1]) if len(words) > 1 else None
    if digest is None:
        raise BadKeyLine(f"sha256: and 64 hexadecimal digits must follow the name {name}")
    limits: dict[str, int] = {}
    models: tuple[str, ...] = ()
    operator = False
    for word in words[2:]:
        option, _, value = word.partition("=")
        if option in ("waiting", "rate") and option not in limits:
            limits[option] = _limit(option, value)
        elif option == "models" and not models and value:
            models = tuple(filter(None, value.split(",")))
        elif word == "operator":
            operator = True
        else:
            raise BadKeyLine(f"{word!r} is none of waiting=N, rate=N, models=A,B and operator")
    return NamedKey(name, digest[1], limits.get("waiting"), limits.get("rate"), models, operator)


def _limit(option: str, value: str) -> int:
    least = 1 if option == "rate" else 0
    if not _NUMBER.fullmatch(value) or not least <= int(value) <= LARGEST_LIMIT:
        raise BadKeyLine(f"{option} must be a number from {least} to {LARGEST_LIMIT}")
    return int(value)
