"""How fast the simulated card works, and how precisely."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_CATCH_UP = 0.25  # seconds of delay that later steps make up; a longer delay stays, as on a card


@dataclass(frozen=True)
class Pace:
    """Speeds of the simulated card in tokens per second; 0 means as fast as possible."""

    decode: float
    prefill: float

    def token(self) -> float:
        """Return the seconds that one decode step takes."""
        return 1 / self.decode if self.decode else 0.0

    def chunk(self, tokens: int) -> float:
        """Return the seconds that a prefill chunk of `tokens`, padding included, takes."""
        return tokens / self.prefill if self.prefill else 0.0


class Metronome:
    """Waits for steps of a given length without drift; a stop ends a step after a layer."""

    def __init__(
        self, stop: threading.Event, layers: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stop = stop
        self._layers = layers
        self._clock = clock
        self._due = clock()

    def step(self, seconds: float) -> bool:
        """Wait for a step of `seconds`; return False when a stop came before its last layer."""
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
        """Shift all later steps by `seconds` of work that is not the card's."""
        self._due += seconds
