"""How fast the simulated card works, and how precisely."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_CATCH_UP = 0.25  # seconds of lateness that are made good; more is a pause, as on a card


@dataclass(frozen=True)
class Pace:
    """Speeds of the simulated card in tokens per second; 0 means as fast as possible."""

    decode: float
    prefill: float

    def token(self) -> float:
        """Seconds for one decode step."""
        return 1 / self.decode if self.decode else 0.0

    def chunk(self, tokens: int) -> float:
        """Seconds for a prefill chunk of `tokens`, padding included."""
        return tokens / self.prefill if self.prefill else 0.0


class Metronome:
    """Steps of a given length without drift, which a stop can cut short at a layer's end."""

    def __init__(
        self, stop: threading.Event, layers: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
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
