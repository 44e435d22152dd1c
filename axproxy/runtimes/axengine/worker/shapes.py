"""What a compiled file takes and returns, read from its session.

A file has groups of shapes: one for a single token after a history (decode), and some for a chunk
of tokens after histories of growing length (prefill).  Source: the vendor's Python demos and
AXERA-TECH/pyaxengine (`_base_session.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class UnfitFile(Exception):
    """A file does not take or return what the pipeline needs; the message says what it has."""


class Tensor(Protocol):
    """One input or output of a file, in one of its groups."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> Sequence[int]: ...

    @property
    def dtype(self) -> Any: ...


class Session(Protocol):
    """The part of `axengine.InferenceSession` that is used here."""

    def get_inputs(self, shape_group: int = 0) -> Sequence[Tensor]: ...

    def get_outputs(self, shape_group: int = 0) -> Sequence[Tensor]: ...

    def run(
        self,
        output_names: list[str] | None,
        input_feed: dict[str, Array],
        run_options: object | None = None,
        shape_group: int = 0,
    ) -> list[Array]: ...


@dataclass(frozen=True)
class Group:
    """The shapes of one group.

    `rows` is how many tokens it takes, `width` the columns of its mask, `cache` the shape of the
    KV cache that it takes, `hidden` the length of a token's embedding.  The file's own tokens have
    the last columns of the mask; the columns before them are the history's, `capacity` in number.
    """

    number: int
    rows: int
    width: int
    cache: tuple[int, ...]
    hidden: int

    @property
    def capacity(self) -> int:
        return self.width - self.rows


NEEDED = ("K_cache", "V_cache", "indices", "input", "mask")


def groups_of(session: Session) -> list[Group]:
    """Return the groups of a file in their order.  Raises `UnfitFile`."""
    groups = []
    for number in range(1000):
        try:
            tensors = {tensor.name: tuple(tensor.shape) for tensor in session.get_inputs(number)}
        except (ValueError, IndexError):  # the library raises either, one group after the last
            break
        if missing := [name for name in NEEDED if name not in tensors]:
            raise UnfitFile(f"it has no input {missing[0]}, but {', '.join(tensors) or 'none'}")
        mask, given = tensors["mask"], tensors["input"]
        if len(mask) != 3 or len(given) != 3 or mask[1] != given[1]:
            raise UnfitFile(f"its mask is {mask} and its input {given}; they do not fit together")
        groups.append(Group(number, given[1], mask[2], tensors["K_cache"], given[2]))
    if not groups:
        raise UnfitFile("it has no group of shapes")
    return groups


def check_groups(decode: Group, prefill: Sequence[Group]) -> None:
    """Raise `UnfitFile` for groups that cannot work on one cache."""
    if decode.rows != 1:
        raise UnfitFile(f"its first group takes {decode.rows} tokens; one is expected there")
    for group in prefill:
        if group.hidden != decode.hidden:
            raise UnfitFile(f"group {group.number} takes rows of {group.hidden} values")
        if group.capacity < 0 or (group.capacity and group.cache[-1] != decode.cache[-1]):
            raise UnfitFile(f"group {group.number} takes a cache of {group.cache}")


def dtypes_of(session: Session) -> dict[str, np.dtype[Any]]:
    """Return the dtype of each input."""
    return {tensor.name: np.dtype(tensor.dtype) for tensor in session.get_inputs(0)}
