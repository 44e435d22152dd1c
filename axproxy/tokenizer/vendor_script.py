"""The client of the tokenizer script that comes with the vendor's models.

The script answers only the runtime; other programs can see that it is there, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from axproxy.errors import TokenizerGone
from axproxy.local_http import LocalHTTP, LocalHTTPError
from axproxy.prompts.vendor_script import estimated_tokens
from axproxy.tokenizer.client import TokenizerClient


class VendorScriptClient(TokenizerClient):
    """Takes the place of our own tokenizer's client.

    It has no trace: answers are read from the runtime's polls, and every request begins with a
    reset.
    """

    traces = False

    def count(self, text: str) -> int:
        """Estimate the number of tokens."""
        return estimated_tokens(text)

    def tokenize(self, _text: str) -> NoReturn:
        raise _not_supported()

    def detokenize(self, _ids: Sequence[int]) -> NoReturn:
        raise _not_supported()

    def trace(self, _after: int = 0, _run: int = 0, _have: int = 0, _wait: float = 0.0) -> NoReturn:
        raise _not_supported()

    def answers(self) -> bool:
        """Return whether the script is there.

        `GET /` is its only call without side effects: `/get_uid` loads two more tokenizers and
        keeps them.
        """
        # An open connection would block that of the runtime.
        connection = LocalHTTP(self._url, {"Connection": "close"})
        try:
            answer = connection.call("GET", "/", timeout=self._timeout).json()
        except (LocalHTTPError, ValueError):
            return False
        finally:
            connection.close()
        return isinstance(answer, dict) and "error" in answer


def _not_supported() -> TokenizerGone:
    return TokenizerGone(
        "the vendor's tokenizer script answers only the runtime; set AX650_TOKENIZER=builtin"
    )
