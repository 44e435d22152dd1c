"""What prompts ask of a tokenizer, whichever program it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from axproxy.control_tokens import ControlToken


@dataclass(frozen=True)
class TokenizerInfo:
    """Facts from the model's tokenizer folder.

    `bos_id` is -1 when the model has no such token.  `longest_token_bytes`: a text of n bytes has
    at least n / this many tokens.  `epoch` changes when the tokenizer process does.  `folder` is
    empty if the process is of a version that did not report it.
    """

    eos_id: int
    eos_token: str
    bos_id: int
    bos_token: str | None
    chat_template: str | None
    vocab_size: int
    longest_token_bytes: int
    control_tokens: tuple[ControlToken, ...]
    epoch: str
    folder: str = ""


class Tokenizer(Protocol):
    """Calls are safe from several threads.  Each raises `TokenizerGone` when it cannot answer."""

    def info(self) -> TokenizerInfo:
        """Return the facts about the tokenizer that is loaded."""

    def count(self, text: str) -> int:
        """Return how many tokens `text` has; control tokens in it are live."""

    def tokenize(self, text: str) -> Sequence[int]:
        """Return the token ids of `text`; control tokens in it are live."""

    def detokenize(self, ids: Sequence[int]) -> str:
        """Return a text that encodes to `ids`; only control tokens among the ids are live in it."""
