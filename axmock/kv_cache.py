"""How many tokens fit: the vendor's arithmetic of groups, chunks and the KV cache.

P is the number of tokens in the cache, N the number of new ones, G the largest prefill group,
C the chunk and M the longest conversation.  Observed on the vendor's binary and read from its
source.  Where the vendor's program writes out of bounds, `Fate` says what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Fate(Enum):
    """What happens to the process when the vendor's code writes outside its buffers."""

    LIVES = "lives"
    SEGFAULT = "dies by SIGSEGV in the first prefill chunk"
    ABORT = "dies by SIGABRT in the first prefill chunk"
    LATE_ABORT = "prefills over the end of its buffers, then dies by SIGABRT"


@dataclass(frozen=True)
class Shape:
    """What is compiled into a model."""

    layers: int
    chunk: int
    prefill_limit: int
    max_tokens: int
    kv_cache_size: int

    @property
    def groups(self) -> tuple[int, ...]:
        """The capacities of the prefill groups: 1, C, 2C ... G."""
        steps = range(self.chunk, self.prefill_limit, self.chunk)
        return (1, *steps, self.prefill_limit)


@dataclass(frozen=True)
class Chunks:
    """A prefill cut into steps: the number of tokens in each."""

    sizes: tuple[int, ...]

    @classmethod
    def of(cls, tokens: int, chunk: int) -> Chunks:
        """Cut `tokens` into chunks; the last one may be short."""
        return cls(tuple(min(chunk, tokens - at) for at in range(0, tokens, chunk)))


@dataclass(frozen=True)
class ResetPlan:
    """What a reset with a system prompt does."""

    tokens: int
    group_id: int
    chunks: Chunks
    fate: Fate


@dataclass(frozen=True)
class Admission:
    """The result of checking a turn, with the numbers that the vendor's program logs."""

    group_id: int
    group_capacity: int
    cached: int
    new: int
    room: int
    refusal: str | None
    fate: Fate

    @property
    def first_run(self) -> bool:
        """Whether the cache was empty, which skips every check."""
        return self.cached == 0


class KvCache:
    """P, the room left and the remains of earlier runs; one writer, no locks."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.cached = 0
        self._room = shape.prefill_limit
        self._group_id = -1
        self._decode_mask_end: int | None = None

    def reset(self, tokens: int) -> ResetPlan:
        """Start over with a system prompt of `tokens` tokens.

        The vendor's program checks no limit, and keeps its decode mask and chosen group.
        """
        shape = self.shape
        self._room = shape.prefill_limit
        self.cached = tokens
        fits = [i for i, capacity in enumerate(shape.groups, 1) if tokens <= capacity]
        chunks = Chunks.of(tokens, shape.chunk)
        # Each chunk writes C rows, full or not.  Rows beyond the largest group overwrite other
        # device memory unnoticed; beyond the decode cache (M + 1 rows) the process crashes.
        rows = len(chunks.sizes) * shape.chunk
        overrun = tokens > shape.prefill_limit and rows > shape.max_tokens + 1
        fate = Fate.SEGFAULT if overrun else Fate.LIVES
        return ResetPlan(tokens, fits[0] if fits else len(shape.groups), chunks, fate)

    def admit(self, new: int) -> Admission:
        """Check a turn of `new` tokens; each attempt shrinks the room, refused or not."""
        shape, cached = self.shape, self.cached
        fits = [i for i, capacity in enumerate(shape.groups, 1) if cached + new <= capacity]
        chosen_before = self._group_id != -1
        if fits:
            self._group_id = fits[0]
        capacity = self._capacity()
        # ALIGN_DOWN on a power of two; Python's floor agrees with the vendor's bit mask below zero
        self._room = (self._room - cached) // shape.chunk * shape.chunk
        refusal, fate = None, Fate.LIVES
        if cached == 0:
            fate = self._fate_of_a_first_prompt(new, chosen_before)
        elif cached + new > capacity:
            refusal = (
                f"precompute_len({cached}) + input_num_token({new})"
                f" > _attr.prefill_max_kv_cache_num_grp[{self._group_id - 1}]"
            )
        elif new > self._room:
            refusal = f"input_num_token({new}) > _attr.prefill_max_token_num({self._room})"
        return Admission(self._group_id, capacity, cached, new, self._room, refusal, fate)

    def fate_of_stale(self, tokens: int) -> Fate:
        """Return what running the `tokens` of an earlier prompt does; no limit is checked."""
        beyond = self.cached + tokens > self.shape.prefill_limit
        return Fate.ABORT if beyond else Fate.LIVES

    def decoded_at(self, position: int) -> None:
        """Record a decode step at `position`; its mask hides this and all later positions."""
        self._decode_mask_end = position

    def settle(self) -> int:
        """Take P from the decode mask that the last decode step left; return what remains of G.

        A run without any decode step (stopped in prefill, or at the limit from the start) finds the
        mask of an older run, possibly of another conversation; a new process has none and keeps P.
        """
        if self._decode_mask_end is not None:
            self.cached = self._decode_mask_end + 1
        self._room = self.shape.prefill_limit
        return self.shape.prefill_limit - self.cached

    def _capacity(self) -> int:
        if self._group_id > 0:
            return self.shape.groups[self._group_id - 1]
        # Group -1 reads two ints before a vector: the low half of the heap chunk's size, in which
        # the lowest bit means that the chunk before is in use.
        slots = 1 << (len(self.shape.groups) - 1).bit_length()
        return max(32, (slots * 4 + 8 + 15) & ~15) | 1

    def _fate_of_a_first_prompt(self, new: int, chosen_before: bool) -> Fate:
        limit = self.shape.prefill_limit
        if new <= limit:
            return Fate.LIVES
        if chosen_before:
            return Fate.LATE_ABORT
        return Fate.SEGFAULT if new <= limit + 129 else Fate.ABORT  # seen with G = 896: 1025, 1100
