"""Stands in for the vendor's PyAXEngine: `InferenceSession` without a card.

A file `NAME.axmodel` is JSON here: what kind of part it is, its groups, the seed of its weights,
and its faults.  As the real library does, a session refuses wrong names, shapes and dtypes, and a
group that does not exist.  It also refuses what the real one would take and compute nonsense from:
arrays that are not C-contiguous, masks that show a future token or hide a needed one, and
positions that do not follow the history.  The arithmetic is a small transformer's.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HIDDEN = -65536.0
PROVIDERS = ["AXCLRTExecutionProvider", "AxEngineExecutionProvider"]


def get_available_providers() -> list[str]:
    return os.environ.get("FAKE_AXENGINE_PROVIDERS", ",".join(PROVIDERS)).split(",")


class NodeArg:
    def __init__(self, name: str, shape: list[int], dtype: Any) -> None:
        self.name, self.shape, self.dtype = name, shape, dtype


class _Answer:
    """Where the present answer is, for files that answer a script: the runs of this process."""

    last_position = -2
    sampled = 0
    asked = False  # for logits since the last run of a layer
    rows: ClassVar[dict[int, bytes]] = {}  # the embeddings of the tokens read so far, by position
    reply: ClassVar[list[int]] = []

    @classmethod
    def saw(cls, positions: np.ndarray, given: np.ndarray) -> None:
        # The last token of a prompt may be read alone, too, but behind no logits.
        follows = len(positions) == 1 and positions[0] == cls.last_position + 1 and cls.asked
        cls.sampled = cls.sampled + 1 if follows else 0
        cls.asked = False
        cls.last_position = int(positions[-1])
        for position, row in reversed(list(zip(positions, given, strict=True))):
            cls.rows[int(position)] = row.tobytes()  # padding repeats a position, and comes later

    @classmethod
    def next(cls, script: Any, table: Path) -> int:
        """Return the next token of a script: tokens, or what repeats the question."""
        cls.asked = True
        if cls.sampled == 0:
            cls.reply = script if isinstance(script, list) else cls.echo(script, table)
        return cls.reply[min(cls.sampled, len(cls.reply) - 1)]

    @classmethod
    def echo(cls, script: dict[str, Any], table: Path) -> list[int]:
        ids = {row.tobytes(): at for at, row in enumerate(np.load(table).astype(BFLOAT16))}
        pieces = [piece.encode("latin-1") for piece in script["pieces"]]
        read = [pieces[ids[cls.rows[at]]] for at in range(cls.last_position + 1)]
        prompt = b"".join(read).decode(errors="replace")
        found = re.match(r"(?s).*<\|im_start\|>user\n(.*?)<\|im_end\|>", prompt)
        said = (script["preface"] + (found[1] if found else prompt)).encode()
        reply = []
        while said:  # the longest token that fits
            best = max(
                (at for at, piece in enumerate(pieces) if piece and said.startswith(piece)),
                key=lambda at: len(pieces[at]),
            )
            reply.append(best)
            said = said[len(pieces[best]) :]
        return [*reply, script["end"]]


class InferenceSession:
    runs = 0  # of all sessions

    def __init__(
        self,
        path: str,
        sess_options: None = None,
        providers: Any = None,
        provider_options: Any = None,
    ) -> None:
        assert isinstance(path, str), "the library takes no other kind of path"
        if providers and providers[0] not in get_available_providers():
            raise ValueError(f"Selected provider(s): {providers} is(are) not available.")
        self._spec = json.loads(Path(path).read_text())
        if self._spec.get("refused"):
            raise RuntimeError("axclrtEngineLoadFromFile failed.")
        time.sleep(self._spec.get("load_seconds", 0))
        self._path = Path(path)
        self._provider = providers[0] if providers else PROVIDERS[0]
        random = np.random.default_rng(self._spec["seed"])
        hidden, kv = self._spec["hidden"], self._spec["kv"]
        self._weights = {
            name: random.normal(size=shape) / np.sqrt(shape[0])
            for name, shape in (
                ("query", (hidden, kv)),
                ("key", (hidden, kv)),
                ("value", (hidden, kv)),
                ("out", (kv, hidden)),
                ("up", (hidden, 2 * hidden)),
                ("down", (2 * hidden, hidden)),
                ("logits", (hidden, self._spec["vocabulary"])),
            )
        }

    def get_providers(self) -> str:
        return self._provider

    def get_inputs(self, shape_group: int = 0) -> list[NodeArg]:
        return self._nodes("inputs", shape_group)

    def get_outputs(self, shape_group: int = 0) -> list[NodeArg]:
        return self._nodes("outputs", shape_group)

    def run(
        self,
        output_names: list[str] | None,
        input_feed: dict[str, np.ndarray],
        run_options: None = None,
        shape_group: int = 0,
    ) -> list[np.ndarray]:
        assert output_names is None
        nodes = {node.name: node for node in self.get_inputs(shape_group)}
        assert nodes.keys() == input_feed.keys(), (nodes.keys(), input_feed.keys())
        for name, array in input_feed.items():
            node = nodes[name]
            assert list(array.shape) == list(node.shape), (name, array.shape, node.shape)
            assert array.dtype == node.dtype, (name, array.dtype, node.dtype)
            assert array.flags.c_contiguous, f"{name} would be copied as it lies"
        self._fault()
        kind = self._spec["kind"]
        if kind == "post":
            return [self._logits(input_feed["input"])]
        if kind == "encoder":
            return [self._encoded(input_feed["input_ids"])]
        return self._attend(input_feed)

    def _nodes(self, which: str, group: int) -> list[NodeArg]:
        groups = self._spec["groups"]
        if group > len(groups):
            raise ValueError(f"Shape group '{group}' is out of range, total {len(groups)}.")
        dtypes = {"bfloat16": BFLOAT16}
        return [
            NodeArg(name, shape, dtypes.get(dtype) or np.dtype(dtype))
            for name, shape, dtype in groups[group][which]
        ]

    def _fault(self) -> None:
        InferenceSession.runs += 1
        time.sleep(self._spec.get("run_seconds", 0))
        if InferenceSession.runs == self._spec.get("fail_at"):
            raise RuntimeError("axclrtEngineExecute failed 0x8030010b.")
        if InferenceSession.runs == self._spec.get("hang_at"):
            time.sleep(3600)
        if InferenceSession.runs == self._spec.get("crash_at"):
            os.abort()

    def _attend(self, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        mask, positions = feed["mask"][0].astype(float), feed["indices"][0].astype(int)
        history = _checked(mask, positions)
        stacked = self._spec["kind"] == "stacked"
        given = feed["input"][0].astype(float)
        keys_out, values_out = [], []
        for layer in range(self._spec.get("layers", 1)):
            cache = [feed[name][layer if stacked else 0] for name in ("K_cache", "V_cache")]
            keys, values, given = self._layer(given, positions, mask, history, *cache)
            keys_out.append(keys)
            values_out.append(values)
        if self._spec.get("layer", 0) == 0:
            _Answer.saw(positions, feed["input"][0])
        rows = [np.stack(found) for found in (keys_out, values_out)]
        last = given[None] @ self._weights["logits"] if stacked else given[None].astype(BFLOAT16)
        return [*rows, last.astype(np.float32) if stacked else last]

    def _layer(
        self,
        given: np.ndarray,
        positions: np.ndarray,
        mask: np.ndarray,
        history: int,
        old_keys: np.ndarray,
        old_values: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        weights = self._weights
        normed = _norm(given)
        keys = _turned(normed @ weights["key"], positions).astype(BFLOAT16)
        values = (normed @ weights["value"]).astype(BFLOAT16)
        queries = _turned(normed @ weights["query"], positions)
        own = mask.shape[1] - len(given)
        columns = [*range(history), *range(own, mask.shape[1])]
        all_keys = np.concatenate([old_keys[:history], keys]).astype(float)
        all_values = np.concatenate([old_values[:history], values]).astype(float)
        scores = queries @ all_keys.T / np.sqrt(keys.shape[1]) + mask[:, columns]
        grown = np.exp(scores - scores.max(axis=1, keepdims=True))
        attended = (grown / grown.sum(axis=1, keepdims=True)) @ all_values @ weights["out"]
        given = given + attended
        given = given + np.tanh(_norm(given) @ weights["up"]) @ weights["down"]
        return keys, values, given.astype(BFLOAT16).astype(float)

    def _logits(self, given: np.ndarray) -> np.ndarray:
        script = self._path.parent / "reply.json"
        if self._spec.get("scripted"):
            table = script.parent / "model.embed_tokens.weight.npy"
            logits = np.zeros((1, 1, self._spec["vocabulary"]), np.float32)
            logits[0, 0, _Answer.next(json.loads(script.read_text()), table)] = 100.0
            return logits
        return (_norm(given.astype(float)) @ self._weights["logits"]).astype(np.float32)

    def _encoded(self, ids: np.ndarray) -> np.ndarray:
        table = np.random.default_rng(1).normal(
            size=(self._spec["vocabulary"], self._spec["hidden"])
        )
        known = table[ids[0]] * (ids[0] != 0)[:, None]
        return (known + known.sum(axis=0))[None].astype(np.float32)


def _checked(mask: np.ndarray, positions: np.ndarray) -> int:
    """Return the length of the history; the mask must show it and nothing else."""
    history, rows, width = int(positions[0]), len(positions), mask.shape[1]
    assert set(np.unique(mask)) <= {0.0, HIDDEN}, "a mask is 0 or -65536"
    assert history <= width - rows, f"{history} tokens of history in {width - rows} columns"
    expected = np.full(mask.shape, HIDDEN)
    expected[:, :history] = 0
    expected[:, width - rows :][np.tril(np.ones((rows, rows), bool))] = 0
    assert (mask == expected).all(), "the mask shows a future token or hides a needed one"
    steps = np.diff(positions)
    assert set(steps) <= {0, 1}, "positions are in order"
    assert not len(steps) or not (np.diff(steps) > 0).any(), "only padding repeats a position"
    return history


def _norm(rows: np.ndarray) -> np.ndarray:
    return rows / np.sqrt((rows**2).mean(axis=-1, keepdims=True) + 1e-6)


def _turned(rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Rotate pairs of values by their position, as RoPE does."""
    half = rows.shape[1] // 2
    angles = positions[:, None] / 100.0 ** (np.arange(half) / half)
    left, right = rows[:, :half], rows[:, half:]
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([left * cos - right * sin, left * sin + right * cos], axis=1)
