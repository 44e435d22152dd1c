"""Requests that the `ollama` command line signs with its own key, as it does with OLLAMA_AUTH=1.

Recorded of version 0.33.0: the URL ends in `?ts=` and the time in Unix seconds, and `Authorization`
is the base64 of the public key, as OpenSSH writes it, a colon, and the base64 of an Ed25519
signature.  The signed text is `METHOD,PATH?ts=TIME`.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FRESHNESS = 60.0  # seconds that a signature's time may differ from ours, in both directions

Judgement = Literal["right", "wrong", "stale"]

_TYPE = "ssh-ed25519"
_BEGINNING = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"  # lengths before type and key
_KEY_SIZE = 32  # bytes
_SIGNATURE_SIZE = 64  # bytes
_TIME = re.compile(r"ts=([0-9]{1,12})", re.ASCII)


class BadKey(ValueError):
    """A line that is no public key of this type; the message completes "… must hold"."""


class AuthorizedKeys:
    """The public keys whose owners may call, by lines such as `ssh-ed25519 AAAA… name`.

    Raises `BadKey`, and `ModuleNotFoundError` where the package cryptography is missing.
    """

    def __init__(self, lines: Iterable[str], clock: Callable[[], float] = time.time) -> None:
        # Only those who sign need this package.
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - see above

        self._clock = clock
        self._keys: Mapping[bytes, Ed25519PublicKey] = {
            key: ed25519.Ed25519PublicKey.from_public_bytes(key) for key in _keys(lines)
        }
        if not self._keys:
            raise BadKey(f"a line such as {_TYPE} AAAA… name")

    def judge(self, authorization: str, method: str, paths: Iterable[str], query: str) -> Judgement:
        """Decide on the signature in the header `Authorization`, which may be anything.

        `paths` are the forms of the path that may have been signed.  A signature that is right but
        too old or from the future is "stale": one of the two clocks is wrong, or it was recorded.
        """
        blob, _, signature = (_decoded(part) for part in authorization.partition(":"))
        key = self._keys.get(blob[len(_BEGINNING) :]) if blob.startswith(_BEGINNING) else None
        signed_at = _TIME.fullmatch(query)
        if key is None or signed_at is None or len(signature) != _SIGNATURE_SIZE:
            return "wrong"
        if not any(_is_signed(key, signature, f"{method},{path}?{query}") for path in paths):
            return "wrong"
        fresh = abs(self._clock() - int(signed_at[1])) <= FRESHNESS
        return "right" if fresh else "stale"


def _keys(lines: Iterable[str]) -> Iterable[bytes]:
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        blob = _decoded(words[1]) if len(words) > 1 and words[0] == _TYPE else b""
        if not blob.startswith(_BEGINNING) or len(blob) != len(_BEGINNING) + _KEY_SIZE:
            raise BadKey(f"lines such as {_TYPE} AAAA… name, and line {number} is none")
        yield blob[len(_BEGINNING) :]


def _is_signed(key: Ed25519PublicKey, signature: bytes, text: str) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - loaded by now

    try:
        key.verify(signature, text.encode("latin-1", "replace"))  # as WSGI gives paths
    except InvalidSignature:
        return False
    return True


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return b""
