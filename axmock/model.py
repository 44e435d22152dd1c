"""One run of the simulated model: prefill, then tokens at a steady pace until something ends it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from axmock.death import abort, segfault
from axmock.kv_cache import Chunks, Fate, KvCache
from axmock.logs import Log, Progress
from axmock.reply import NONSENSE
from axmock.tokenizer_link import TokenizerLink

_GROUP = 3  # tokens per /decode
_DECODE_ALLOWANCE = 0.010  # seconds of a /decode that count as part of the three tokens' own time
_CATCH_UP = 0.25  # seconds of lateness that are made good; more is a pause, as on a card

Callback = Callable[[str], None]


@dataclass(frozen=True)
class Pace:
    """How fast the simulated card is; 0 tokens per second means as fast as possible."""

    tokens_per_second: float
    prefill_tokens_per_second: float

    def token(self) -> float:
        """Seconds for one decode step."""
        return 1 / self.tokens_per_second if self.tokens_per_second else 0.0

    def chunk(self, tokens: int) -> float:
        """Seconds for a prefill chunk of `tokens`, padding included."""
        rate = self.prefill_tokens_per_second
        return tokens / rate if rate else 0.0


@dataclass(frozen=True)
class Misfortune:
    """What goes wrong after so many tokens of an answer; None is never."""

    crash_after: int | None = None
    hang_after: int | None = None
    lose_card_after: int | None = None


class Metronome:
    """Steps of a given length without drift, which a stop can cut short at a layer's end."""

    def __init__(self, stop: threading.Event, layers: int, clock: Callable[[], float]) -> None:
        self._stop = stop
        self._layers = layers
        self._clock = clock
        self._due = clock()

    def step(self, seconds: float) -> bool:
        """Let `seconds` pass; False when a stop came before the last layer was through."""
        begun, self._due = self._due, self._due + seconds
        now = self._clock()
        if now - self._due > _CATCH_UP:
            self._due = now
        if self._due <= now or not self._stop.wait(self._due - now):
            return True
        layer = seconds / self._layers
        layers_begun = math.floor(max(0.0, self._clock() - begun) / layer) + 1
        time.sleep(max(0.0, begun + layers_begun * layer - self._clock()))
        return layers_begun >= self._layers

    def excuse(self, seconds: float) -> None:
        """Shift the beat by work that is not the card's."""
        self._due += seconds


class Model:
    """The engine; `run` and `prefill` may be called by one thread at a time, `stop` by any."""

    def __init__(
        self,
        kv: KvCache,
        link: TokenizerLink,
        log: Log,
        pace: Pace,
        misfortune: Misfortune,
        known_ids: int | None,
    ) -> None:
        self.kv = kv
        self._link = link
        self._log = log
        self._pace = pace
        self._misfortune = misfortune
        self._known_ids = known_ids
        self._stop = threading.Event()
        self._clock = time.monotonic

    def stop(self) -> None:
        """Ask the current run to end; forgotten when the next run begins."""
        self._stop.set()

    def look_up(self, ids: list[int], line: int) -> None:
        """Fetch embeddings: ids beyond the table cost a log line each and keep old contents."""
        for token in ids:
            if self._known_ids is not None and not 0 <= token < self._known_ids:
                self._log.error(
                    "getByIndex", line, f"index({token}) > token_num({self._known_ids})"
                )

    def prefill(self, chunks: Chunks) -> None:
        """Run a system prompt through the card; a stop has no effect here."""
        for size in chunks.sizes:
            self._log.info("GenerateKVCachePrefill", 367, f"input_num_token:{size}")
            time.sleep(self._pace.chunk(self.kv.shape.chunk))

    def run(self, new: int, fate: Fate, reply: Callable[[], list[int]], out: Callback | None) -> str:
        """Prefill `new` tokens behind the cache and answer; return the whole answer's text.

        `reply` yields the ids the model is going to say; `out` gets the text in groups of three
        tokens.  Without `out` a progress bar is drawn instead, as /api/chat does.
        """
        self._stop.clear()
        chunks = Chunks.of(new, self.kv.shape.chunk)
        summary = f"input token num : {new}, prefill_split_num : {len(chunks.sizes)}"
        self._log.info("Run", 855, summary)
        begun = self._clock()
        metronome = Metronome(self._stop, self.kv.shape.layers, self._clock)
        planned = reply()
        finished = self._prefill_turn(chunks, fate, metronome)
        return _Answer(self, planned if finished else None, metronome, out).finish(new, begun)

    def _prefill_turn(self, chunks: Chunks, fate: Fate, metronome: Metronome) -> bool:
        for size in chunks.sizes:
            if self._stop.is_set():
                return False
            self._log.info("Run", 887, f"input_num_token:{size}")
            if fate is Fate.SEGFAULT:
                segfault()
            if fate is Fate.ABORT:
                abort("malloc(): corrupted top size")
            if not metronome.step(self._pace.chunk(self.kv.shape.chunk)):
                return False
        if fate is Fate.LATE_ABORT:
            abort("free(): invalid next size (normal)")
        return True
