"""The proxy's way to the tokenizer: counts, facts about the model, and the trace of the runtime."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from axproxy.control_tokens import ControlToken
from axproxy.errors import TokenizerGone
from axproxy.local_http import LocalHTTP
from axproxy.prompts.tokenizer import TokenizerInfo

SERVER = "axproxy tokenizer"  # what our own server answers to the probe


@dataclass(frozen=True)
class Token:
    """One sampled token, and the text that it completes: whole characters, maybe none."""

    id: int
    text: str


@dataclass(frozen=True)
class Trace:
    """The runtime's latest run, as its tokenizer sees it.

    `run` counts the runs of this `epoch`, 0 before the first.  `tokens` are the sampled ones from
    number `have` on; `reset_tokens` is what the last reset left in the cache.  With `undecided`,
    they are the whole answer if the runtime is idle; if it is not, the next call tells.  `dangling`
    is U+FFFD when the whole answer ends within a character; `faithful`: the text is all that the
    tokens stand for, and nobody has stopped the run.  `prompt_sha256` is that of the prompt's
    UTF-8, empty when its /encode was not seen or broken.
    """

    epoch: str
    version: int
    resets: int
    reset_tokens: int
    run: int
    prompt_sha256: str
    prompt_tokens: int
    have: int
    tokens: tuple[Token, ...]
    dangling: str
    faithful: bool
    complete: bool
    undecided: bool


class TokenizerClient:
    """Calls our tokenizer server at `url`; no call changes anything there.

    `timeout` is in seconds, for connecting and for each answer.  Every method but `answers` raises
    TokenizerGone when there is no sensible answer.  Safe to use from several threads.
    """

    traces = True  # it can tell what the runtime is doing

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._local = threading.local()

    def info(self) -> TokenizerInfo:
        """Facts about the tokenizer that is loaded."""
        answer = self._call("GET", "/info")
        try:
            tokens = tuple(
                ControlToken(entry["id"], entry["text"], entry["special"])
                for entry in answer["control_tokens"]
            )
            plain = {name: answer[name] for name in _INFO_FIELDS}
        except (KeyError, TypeError) as error:
            raise self._strange() from error
        return TokenizerInfo(control_tokens=tokens, **plain)

    def count(self, text: str) -> int:
        """Tokens of a text, control tokens in it being live."""
        tokens = self._call("POST", "/count", json={"text": text}).get("tokens")
        if not isinstance(tokens, int):
            raise self._strange()
        return tokens

    def tokenize(self, text: str) -> tuple[int, ...]:
        """The tokens of a text, control tokens in it being live."""
        ids = self._call("POST", "/tokenize", json={"text": text}).get("token_ids")
        if not isinstance(ids, list):
            raise self._strange()
        return tuple(ids)

    def detokenize(self, ids: Sequence[int]) -> str:
        """A text with these tokens, in which only control tokens are live that are among them."""
        text = self._call("POST", "/detokenize", json={"token_ids": list(ids)}).get("text")
        if not isinstance(text, str):
            raise self._strange()
        return text

    def trace(self, after: int = 0, run: int = 0, have: int = 0, wait: float = 0.0) -> Trace:
        """The trace once its version is not `after` any more, at the latest after `wait` seconds
        (30 at most).  Who has the first `have` tokens of `run` gets the later ones only."""
        query: dict[str, float] = {"after": after, "run": run, "have": have, "wait": wait}
        answer = self._call("GET", "/trace", params=query, patience=wait)
        try:
            tokens = tuple(Token(id_, text) for id_, text in answer["tokens"])
            plain = {name: answer[name] for name in _TRACE_FIELDS}
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange() from error
        return Trace(tokens=tokens, **plain)

    def answers(self) -> bool:
        """Whether our own tokenizer server is there; false for the vendor's or anybody else's."""
        try:
            return self._call("GET", "/").get("server") == SERVER
        except TokenizerGone:
            return False

    def _call(
        self, method: str, path: str, *, patience: float = 0.0, **what: Any
    ) -> Mapping[str, Any]:
        try:
            response = self._request(method, path, patience, what)
            answer = response.json()
        except requests.JSONDecodeError as error:
            raise self._strange() from error
        except requests.RequestException as error:
            raise TokenizerGone(
                f"the tokenizer at {self._url} does not answer ({type(error).__name__}); "
                "try again in a moment, or see its log"
            ) from error
        if response.status_code != 200 or not isinstance(answer, dict):
            raise self._strange()
        return answer

    def _request(
        self, method: str, path: str, patience: float, what: Mapping[str, Any]
    ) -> requests.Response:
        def ask() -> requests.Response:
            timeout = (self._timeout, self._timeout + patience)
            return self._connection().call(method, path, timeout=timeout, **what)

        try:
            return ask()
        except requests.ConnectionError:
            # Most likely closed while idle.  Nothing changes over there, so asking again is safe;
            # a dead server refuses the second call as well.
            return ask()

    def _connection(self) -> LocalHTTP:
        # One per thread, kept open.
        connection: LocalHTTP | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = LocalHTTP(self._url)
        return connection

    def _strange(self) -> TokenizerGone:
        return TokenizerGone(
            f"what answers at {self._url} is not this service's tokenizer; "
            "stop the other program or set AX650_TOKENIZER_PORT"
        )


_INFO_FIELDS = tuple(TokenizerInfo.__annotations__.keys() - {"control_tokens"})
_TRACE_FIELDS = tuple(Trace.__annotations__.keys() - {"tokens"})
