"""Defines how much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """One speed of the simulated card.

    Many short answers show more of the service than a few long ones, but a slow card has time for
    a few pieces only.
    """

    tokens_per_second: int
    tokens: int  # of the answer to a single client
    repeats: int
    crowd_tokens: int  # of each answer when `Plan.crowd` clients ask at once


@dataclass(frozen=True)
class Plan:
    """The sizes of all measurements; lengths in tokens."""

    name: str
    paces: tuple[Pace, ...]
    cpu_pace: int  # tokens per second at which processor time per token is counted
    crowd: int  # clients at once
    crowd_repeats: int  # runs of the direct driver to compare with
    rest_seconds: float  # of an idle service, whose processor time is measured
    health_samples: int
    turns: int
    growth_repeats: int
    start_repeats: int  # of a tokenizer
    prompts: tuple[int, ...]
    histories: tuple[int, ...]  # messages
    long_histories: tuple[int, ...]  # messages; more than a model on the card can read
    waiting: tuple[int, ...]  # clients
    waiting_seconds: float
    vocabularies: tuple[int, ...]


FULL = Plan(
    name="full",
    paces=(Pace(10, 21, 6, 6), Pace(50, 99, 8, 15), Pace(200, 60, 30, 30)),
    cpu_pace=50,
    crowd=64,
    crowd_repeats=8,
    rest_seconds=2.0,
    health_samples=400,
    turns=10,
    growth_repeats=7,
    start_repeats=5,
    prompts=(64, 256, 1024, 4096, 16_000),
    histories=(1, 9, 33, 129, 513),
    long_histories=(257, 513, 1025, 1999),
    waiting=(1, 4, 16, 64, 250, 1000),
    waiting_seconds=4.0,
    vocabularies=(5_000, 20_000, 50_000, 100_000, 150_000),
)

# Shows that everything works; its figures mean little.
QUICK = Plan(
    name="quick",
    paces=(Pace(50, 21, 2, 12),),  # even a busy machine sees more than one piece
    cpu_pace=50,
    crowd=4,
    crowd_repeats=2,
    rest_seconds=0.2,
    health_samples=20,
    turns=3,
    growth_repeats=1,
    start_repeats=1,
    prompts=(64, 256),
    histories=(1, 9),
    long_histories=(129, 257),
    waiting=(1, 8),
    waiting_seconds=0.2,
    vocabularies=(5_000, 10_000),
)
