"""The named keys in use: the file, read again when it changes, and the limits of each key."""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from axproxy.api_keys import BadKeyLine, NamedKey, find_key, parse_keys
from axproxy.errors import TooManyRequests

MINUTE = 60.0  # seconds in which `rate` requests may come
_WHILE_WAITING = 5  # seconds after which to try again when too many requests wait

log = logging.getLogger(__name__)

Signature = tuple[int, int, int]  # of a file: its number, its size, its time of change


class KeyFile:
    """The keys of a file, which may change at any time; any thread may ask.

    A file that is broken or missing after a change leaves the keys as they were.  Raises `OSError`,
    `UnicodeDecodeError` and `BadKeyLine` where the first reading fails.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # guards the two below; a reader may see the keys without it
        self._seen: Signature | None = self._signature()
        self._keys = self._read()

    def find(self, sent: Iterable[bytes]) -> NamedKey | None:
        """Return the key that is among those that a client sends."""
        self._look()
        return find_key(self._keys, sent)

    def _look(self) -> None:
        """Read the file again if it has changed; a look costs some microseconds."""
        try:
            signature = self._signature()
        except OSError:
            signature = None
        if signature == self._seen:
            return
        with self._lock:
            if signature == self._seen:
                return
            self._seen = signature
        try:
            keys = self._read()
        except (OSError, UnicodeDecodeError, BadKeyLine) as error:
            log.error(
                "AX650_API_KEYS_FILE: %s: %s; the keys stay as they were until it is fixed",
                *(self._path, why_unreadable(error)),
            )
            return
        self._keys = keys
        log.info("AX650_API_KEYS_FILE has changed; it has %d keys now", len(keys))

    def _signature(self) -> Signature:
        found = self._path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _read(self) -> tuple[NamedKey, ...]:
        return parse_keys(self._path.read_text(encoding="utf-8"))


def why_unreadable(error: Exception) -> str:
    """Return why a file of keys cannot be used, in a few words."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not text"
    return (isinstance(error, OSError) and error.strerror) or str(error)


@dataclass
class _Use:
    """What one key does now: its requests in progress, and when those of the last minute came."""

    in_progress: int = 0
    came: deque[float] = field(default_factory=deque)


class KeyLimits:
    """Holds each key to its limits; any thread may call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._uses: dict[str, _Use] = {}  # by the names of the keys

    def begin(self, key: NamedKey) -> Callable[[], None]:
        """Count a request; return what ends it, which may be called more than once.

        Raises `TooManyRequests`; the request is not counted then.
        """
        now = self._clock()
        with self._lock:
            use = self._uses.setdefault(key.name, _Use())
            while use.came and use.came[0] <= now - MINUTE:
                use.came.popleft()
            if key.waiting is not None and use.in_progress > key.waiting:
                raise TooManyRequests(
                    f"the key {key.name} has as many requests in progress as it may have "
                    f"({use.in_progress}); wait for an answer, then send this one again",
                    _WHILE_WAITING,
                )
            if key.rate is not None and len(use.came) >= key.rate:
                left = use.came[-key.rate] + MINUTE - now
                raise TooManyRequests(
                    f"the key {key.name} may send {key.rate} requests a minute; "
                    f"try again in {math.ceil(left)} s",
                    math.ceil(left),
                )
            use.in_progress += 1
            if key.rate is not None:
                use.came.append(now)
        return functools.partial(self._end, [use])

    def _end(self, once: list[_Use]) -> None:
        with self._lock:
            if once:
                once.pop().in_progress -= 1
