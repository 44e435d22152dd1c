"""The tokenizer script that comes with the vendor's models, as far as anybody but the runtime can
ask it: whether it is there.  What ours is asked besides is estimated, or is not to be had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import requests

from axproxy.errors import TokenizerGone
from axproxy.prompts.vendor_script import estimated_tokens
from axproxy.tokenizer.client import TokenizerClient


class VendorScriptClient(TokenizerClient):
    """Stands where our tokenizer's client does.

    It has no trace, so answers are read from the runtime's polls, and every request begins with a
    reset.
    """

    traces = False

    def count(self, text: str) -> int:
        """An estimate."""
        return estimated_tokens(text)

    def tokenize(self, _text: str) -> NoReturn:
        raise _not_told()

    def detokenize(self, _ids: Sequence[int]) -> NoReturn:
        raise _not_told()

    def trace(self, _after: int = 0, _run: int = 0, _have: int = 0, _wait: float = 0.0) -> NoReturn:
        raise _not_told()

    def answers(self) -> bool:
        """Whether the script is there.  `GET /` is its only call without side effects: `/get_uid`
        loads two more tokenizers and keeps them."""
        try:
            with requests.Session() as session:  # an open connection would block the runtime's
                session.trust_env = False
                answer = session.get(self._url + "/", timeout=self._timeout).json()
        except requests.RequestException:
            return False
        return isinstance(answer, dict) and "error" in answer


def _not_told() -> TokenizerGone:
    return TokenizerGone(
        "the vendor's tokenizer script tells nobody but the runtime; set AX650_TOKENIZER=builtin"
    )
