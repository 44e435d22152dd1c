"""The model's files as one network: embeddings in, logits and rows for the KV cache out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from axproxy.models.axengine_folder import AxengineFolder
from axproxy.runtimes.axengine.worker.embedding_table import BFLOAT16
from axproxy.runtimes.axengine.worker.shapes import (
    Array,
    Group,
    Session,
    UnfitFile,
    check_groups,
    dtypes_of,
    groups_of,
)

OpenSession = Callable[[Path], Session]


@dataclass
class KVCache:
    """The keys and values of the tokens read so far: [layers, places, kv] in bfloat16."""

    keys: Array
    values: Array

    @classmethod
    def empty(cls, layers: int, places: int, length: int) -> KVCache:
        shape = (layers, places, length)
        return cls(np.zeros(shape, BFLOAT16), np.zeros(shape, BFLOAT16))

    @property
    def places(self) -> int:
        return int(self.keys.shape[1])

    def write(self, layer: int, at: int, keys: Array, values: Array) -> None:
        """Keep the rows of one layer from place `at` on; what has no place is left out."""
        rows = min(len(keys), self.places - at)
        self.keys[layer, at : at + rows] = keys[:rows]
        self.values[layer, at : at + rows] = values[:rows]


@dataclass(frozen=True)
class NetworkStep:
    """One run of the network: `count` tokens (the rest of `given` is padding) after `history`."""

    group: Group
    given: Array  # [1, rows, hidden]
    indices: Array  # [1, rows], absolute positions
    mask: Array  # [1, rows, width]
    history: int
    count: int


class Network(Protocol):
    """`decode` takes one token, each of `prefill` a chunk of them."""

    decode: Group
    prefill: Sequence[Group]

    @property
    def layers(self) -> int:
        """How many layers keep keys and values."""

    @property
    def kv_length(self) -> int:
        """How many values a token has in a layer's cache, for keys and for values."""

    def run(self, step: NetworkStep, cache: KVCache, *, wanted: bool) -> Array | None:
        """Write the step's rows to the cache; return the logits after its last token, if `wanted`.

        Raises `UnfitFile`, and what the library raises.
        """


@dataclass
class LayeredNetwork:
    """One file for each layer, and one that makes logits of the last layer's output."""

    sessions: Sequence[Session]
    post: Session
    decode: Group = field(init=False)
    prefill: Sequence[Group] = field(init=False)

    def __post_init__(self) -> None:
        first, *others = map(groups_of, self.sessions)
        for number, groups in enumerate(others, start=1):
            if groups != first:
                raise UnfitFile(f"layer {number} has other shapes than layer 0")
        self.decode, self.prefill = first[0], first[1:]
        check_groups(self.decode, self.prefill)
        self._dtypes = dtypes_of(self.sessions[0])

    @property
    def layers(self) -> int:
        return len(self.sessions)

    @property
    def kv_length(self) -> int:
        return self.decode.cache[-1]

    def run(self, step: NetworkStep, cache: KVCache, *, wanted: bool) -> Array | None:
        given = step.given
        feed = _feed(step, self._dtypes)  # once: bfloat16 is slow to make
        for number, session in enumerate(self.sessions):
            feed["input"] = np.ascontiguousarray(given)
            feed["K_cache"] = _history(cache.keys[number][None], step.group)
            feed["V_cache"] = _history(cache.values[number][None], step.group)
            keys, values, given = _outputs(session, feed, step.group, "output")
            cache.write(number, step.history, keys[0, : step.count], values[0, : step.count])
        if not wanted:
            return None
        last = np.ascontiguousarray(given[:, step.count - 1 : step.count])
        (logits,) = self.post.run(None, {self.post.get_inputs(0)[0].name: last})
        return _row(logits)


@dataclass
class StackedNetwork:
    """All layers in one file, or in one for prefill and one for decode; they return logits."""

    decode_session: Session
    prefill_session: Session
    decode: Group = field(init=False)
    prefill: Sequence[Group] = field(init=False)

    def __post_init__(self) -> None:
        groups = groups_of(self.decode_session)
        if len(groups[0].cache) != 3:
            raise UnfitFile(f"its K_cache is {groups[0].cache}, not [layers, places, values]")
        one_file = self.decode_session is self.prefill_session
        self.decode = groups[0]
        self.prefill = groups[1:] if one_file else groups_of(self.prefill_session)
        check_groups(self.decode, self.prefill)

    @property
    def layers(self) -> int:
        return self.decode.cache[0]

    @property
    def kv_length(self) -> int:
        return self.decode.cache[-1]

    def run(self, step: NetworkStep, cache: KVCache, *, wanted: bool) -> Array | None:
        session = self.decode_session if step.group is self.decode else self.prefill_session
        feed = _feed(step, dtypes_of(session))
        feed["K_cache"] = _history(cache.keys, step.group)
        feed["V_cache"] = _history(cache.values, step.group)
        keys, values, logits = _outputs(session, feed, step.group, "logits")
        for layer in range(self.layers):
            cache.write(layer, step.history, keys[layer, : step.count], values[layer, : step.count])
        return _row(logits[:, step.count - 1]) if wanted else None


def open_network(folder: AxengineFolder, open_session: OpenSession) -> Network:
    """Load all files of a model.  Raises `UnfitFile`, and what the library raises."""
    if folder.layout == "layers" and folder.post:
        sessions = [open_session(path) for path in folder.parts]
        return LayeredNetwork(sessions, open_session(folder.post))
    prefill, decode = (open_session(folder.parts[0]), None)
    if folder.layout == "split":
        decode = open_session(folder.parts[1])
    return StackedNetwork(decode or prefill, prefill)


def _feed(step: NetworkStep, dtypes: dict[str, np.dtype[Any]]) -> dict[str, Array]:
    return {
        "indices": step.indices.astype(dtypes["indices"]),
        "input": step.given.astype(dtypes["input"], copy=False),
        "mask": step.mask.astype(dtypes["mask"]),
    }


def _history(rows: Array, group: Group) -> Array:
    """Return the first rows [layers, places, kv] of the cache as the group takes them.

    A group without a history has a placeholder in their place, of any shape.  Raises `UnfitFile`.
    """
    shape = group.cache
    if group.capacity == 0:
        return np.zeros(shape, BFLOAT16)
    if len(shape) != 3 or (shape[0], shape[2]) != (rows.shape[0], rows.shape[2]):
        raise UnfitFile(f"group {group.number} takes a cache of {shape}, not of {rows.shape}")
    if shape[1] > rows.shape[1]:
        raise UnfitFile(f"group {group.number} takes {shape[1]} places; there are {rows.shape[1]}")
    return np.ascontiguousarray(rows[:, : shape[1]])  # of one layer it is a view


def _outputs(
    session: Session, feed: dict[str, Array], group: Group, last: str
) -> tuple[Array, Array, Array]:
    names = [tensor.name for tensor in session.get_outputs(group.number)]
    if missing := {"K_cache_out", "V_cache_out", last} - set(names):
        raise UnfitFile(f"it returns no {min(missing)}, but {', '.join(names)}")
    found = dict(zip(names, session.run(None, feed, shape_group=group.number), strict=True))
    return found["K_cache_out"], found["V_cache_out"], found[last]


def _row(logits: Array) -> Array:
    return np.asarray(logits).reshape(-1).astype(np.float32)
