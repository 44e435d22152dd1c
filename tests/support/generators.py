"""Generators whose return value matters."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Yielded = TypeVar("Yielded")
Returned = TypeVar("Returned")


def completed(steps: Generator[Yielded, None, Returned]) -> tuple[list[Yielded], Returned]:
    """What a generator yields, and what it returns."""
    yielded: list[Yielded] = []
    while True:
        try:
            yielded.append(next(steps))
        except StopIteration as end:
            return yielded, end.value
