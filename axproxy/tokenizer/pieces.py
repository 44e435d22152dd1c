"""Encodes text that is cut at escapes and into slices, as if it had not been cut."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from tokenizers import Tokenizer

from axproxy.control_tokens import ESCAPE, without_surrogates

# The library needs some 200 bytes of memory per character while it encodes, so a text is encoded
# in slices.  A border may cost a token or two, in a text longer than any window of these models.
SLICE_CHARACTERS = 1 << 16


class Untokenizable(Exception):
    """The text cannot be encoded with the model's vocabulary."""


class PieceEncoder:
    """Encodes with the tokenizer of one folder; safe to use from several threads.

    Some vocabularies put a blank before every text.  A piece that goes on inside a text gets none:
    it is encoded with a copy of the tokenizer that has no such rule.  After a token that
    `begins_anew` the rule holds again, where the tokenizer has it for each part between such
    tokens.
    """

    def __init__(self, tokenizer: Tokenizer, begins_anew: Callable[[int], bool]) -> None:
        self._tokenizer = tokenizer
        self._begins_anew = begins_anew
        self._inside, self._between_tokens = _without_prefix(tokenizer)

    def encode(self, text: str) -> Iterator[list[int]]:
        """Yield the ids of the text, piece by piece.

        It is split at each `ESCAPE`, which is dropped; a lone surrogate becomes U+FFFD.  Raises
        `Untokenizable`.
        """
        parts = _parts(without_surrogates(text))
        if self._inside is None:
            for several in _batches(parts):
                yield from _ids(self._tokenizer, several)
            return
        tokenizer = self._tokenizer
        for part in parts:
            [ids] = _ids(tokenizer, [part])
            yield ids
            anew = self._between_tokens and bool(ids) and self._begins_anew(ids[-1])
            tokenizer = self._tokenizer if anew else self._inside


def _ids(tokenizer: Tokenizer, parts: list[str]) -> list[list[int]]:
    try:
        # Unlike encode(), the batch call lets other threads run: a long text must not delay the
        # runtime, which crashes after 10 s without a reply.
        encodings = tokenizer.encode_batch_fast(parts, add_special_tokens=False)
    except Exception as error:  # the library raises the bare class
        raise Untokenizable(str(error)) from error
    return [encoding.ids for encoding in encodings]


def _parts(text: str) -> Iterator[str]:
    for piece in text.split(ESCAPE):
        for start in range(0, len(piece), SLICE_CHARACTERS):
            yield piece[start : start + SLICE_CHARACTERS]


def _batches(parts: Iterator[str]) -> Iterator[list[str]]:
    """Yield the parts in lists of about a slice: a call costs as much as a hundred characters."""
    batch: list[str] = []
    characters = 0
    for part in parts:
        if batch and characters + len(part) > SLICE_CHARACTERS:
            yield batch
            batch, characters = [], 0
        batch.append(part)
        characters += len(part)
    if batch:
        yield batch


def _without_prefix(tokenizer: Tokenizer) -> tuple[Tokenizer | None, bool]:
    """Return a copy that puts no blank before a text, and whether the tokenizer itself also puts
    one after each added token; no copy where it puts none at all."""
    steps = [tokenizer.normalizer, tokenizer.pre_tokenizer]
    schemes = [scheme for step in steps if step for scheme in _schemes(_state(step))]
    if not schemes:
        return None, False
    content = json.loads(tokenizer.to_str())
    for name in ("normalizer", "pre_tokenizer"):
        content[name] = _stripped(content[name])
    return Tokenizer.from_str(json.dumps(content)), "always" in schemes


def _state(step: Any) -> Any:
    return json.loads(step.__getstate__())


def _schemes(step: Any) -> Iterator[str]:
    """Yield `always` or `first` for each step that puts a blank before a text."""
    match step:
        case {"type": "Sequence"}:
            for inner in step.get("normalizers") or step.get("pretokenizers") or ():
                yield from _schemes(inner)
        case {"type": "Prepend"} | {"type": "ByteLevel", "add_prefix_space": True}:
            yield "always"
        case {"type": "Metaspace", "prepend_scheme": "always" | "first" as scheme}:
            yield scheme
        case {"type": "Metaspace"} if "prepend_scheme" not in step:
            if step.get("add_prefix_space", True):
                yield "always"


def _stripped(step: Any) -> Any:
    """Return the step without its rule for the beginning of a text, None if it has no other."""
    match step:
        case {"type": "Sequence"}:
            name = "normalizers" if "normalizers" in step else "pretokenizers"
            kept = [inner for inner in map(_stripped, step[name]) if inner is not None]
            return {**step, name: kept}
        case {"type": "Prepend"}:
            return None
        case {"type": "ByteLevel"}:
            return {**step, "add_prefix_space": False}
        case {"type": "Metaspace"}:
            step = {key: value for key, value in step.items() if key != "add_prefix_space"}
            return {**step, "prepend_scheme": "never"}
    return step
