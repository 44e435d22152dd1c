"""The client of our tokenizer server: token counts, facts about the model, the runtime's trace."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from axproxy.control_tokens import ControlToken
from axproxy.errors import TokenizerGone, TokenizerRefused
from axproxy.local_http import ConnectionFailed, LocalHTTP, LocalHTTPError, LocalReply
from axproxy.prompts.tokenizer import TokenizerInfo
from axproxy.tokenizer.access import HEADER, VARIABLE, proof

SERVER = "axproxy tokenizer"  # the name in our own server's reply to the probe


@dataclass(frozen=True)
class Token:
    """A sampled token, and the text that it completes: whole characters, maybe none."""

    id: int
    text: str


@dataclass(frozen=True)
class Trace:
    """The runtime's latest run, as its tokenizer sees it.

    `run` counts the runs of this `epoch`; it is 0 before the first.  `tokens` are the sampled
    tokens from number `have` on.  `reset_tokens` is how many tokens the last reset left in the
    cache.  If `undecided`, the tokens are the whole answer provided that the runtime is idle; if
    it is not idle, the next call decides.  `dangling` is U+FFFD if the whole answer ends within a
    character.  `faithful`: the text is everything that the tokens mean.  `stopped`: if the run
    is over, something has stopped it, or it has reached the end of the window.  `disturbed`:
    another program has called the tokenizer as if it were the runtime.  `prompt_sha256` is
    computed from the prompt's UTF-8; it is empty if the prompt's /encode was not seen or was
    broken.
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
    stopped: bool
    disturbed: bool
    complete: bool
    undecided: bool


class TokenizerClient:
    """Calls our tokenizer server at `url`; no call changes anything there.

    `timeout` is in seconds, for connecting and for each reply.  `secret` is the one that the server
    was started with; empty where it has none.  Every method except `answers`
    raises `TokenizerGone` if there is no reply that it understands.  Safe for several threads.
    """

    traces = True  # it can report what the runtime is doing

    def __init__(self, url: str, timeout: float = 10.0, secret: str = "") -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._headers = {HEADER: proof(secret)} if secret else {}
        self._local = threading.local()

    def info(self) -> TokenizerInfo:
        """Return facts about the tokenizer that is loaded."""
        answer = self._call("GET", "/info")
        try:
            tokens = tuple(
                ControlToken(entry["id"], entry["text"], entry["special"])
                for entry in answer["control_tokens"]
            )
            plain = {name: answer[name] for name in _INFO_FIELDS}
        except (KeyError, TypeError) as error:
            raise self._not_ours() from error
        return TokenizerInfo(control_tokens=tokens, folder=str(answer.get("folder") or ""), **plain)

    def count(self, text: str) -> int:
        """Count the tokens of a text; control tokens in it are live."""
        tokens = self._call("POST", "/count", json={"text": text}).get("tokens")
        if not isinstance(tokens, int):
            raise self._not_ours()
        return tokens

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text; control tokens in it are live."""
        ids = self._call("POST", "/tokenize", json={"text": text}).get("token_ids")
        if not isinstance(ids, list):
            raise self._not_ours()
        return tuple(ids)

    def detokenize(self, ids: Sequence[int]) -> str:
        """Return a text with these tokens.  Only the control tokens among them are live in it."""
        text = self._call("POST", "/detokenize", json={"token_ids": list(ids)}).get("text")
        if not isinstance(text, str):
            raise self._not_ours()
        return text

    def trace(self, after: int = 0, run: int = 0, have: int = 0, wait: float = 0.0) -> Trace:
        """Return the trace once its version is not `after`, or after `wait` seconds (at most 30).

        The trace leaves out the first `have` tokens if the run is still `run`.
        """
        query: dict[str, float] = {"after": after, "run": run, "have": have, "wait": wait}
        answer = self._call("GET", "/trace", wait=wait, params=query)
        try:
            tokens = tuple(starmap(Token, answer["tokens"]))
            plain = {name: answer[name] for name in _TRACE_FIELDS}
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_ours() from error
        return Trace(tokens=tokens, **plain)

    def answers(self) -> bool:
        """Return whether our own server is there; False for the vendor's and any other program."""
        try:
            return self._call("GET", "/").get("server") == SERVER
        except TokenizerGone:
            return False

    def _call(
        self, method: str, path: str, *, wait: float = 0.0, **content: Any
    ) -> Mapping[str, Any]:
        try:
            reply = self._request(method, path, self._timeout + wait, content)
            answer = reply.json()
        except LocalHTTPError as error:
            raise TokenizerGone(
                f"the tokenizer at {self._url} does not answer ({error}); "
                "try again in a moment, or see its log"
            ) from error
        except ValueError as error:
            raise self._not_ours() from error
        if reply.status == 403:
            raise TokenizerRefused(
                f"the tokenizer at {self._url} takes this service for another program; start both "
                f"as the same user, or with the same {VARIABLE}"
            )
        if reply.status != 200 or not isinstance(answer, dict):
            raise self._not_ours()
        return answer

    def _request(
        self, method: str, path: str, read_timeout: float, content: Mapping[str, Any]
    ) -> LocalReply:
        def ask() -> LocalReply:
            return self._connection().call(
                method, path, timeout=self._timeout, read_timeout=read_timeout, **content
            )

        try:
            return ask()
        except ConnectionFailed:
            # Most likely the server closed the idle connection.  A call changes nothing there, so
            # a second try is safe; a dead server refuses it as well.
            return ask()

    def _connection(self) -> LocalHTTP:
        # Each thread has its own and keeps it open.
        connection: LocalHTTP | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = LocalHTTP(self._url, self._headers)
        return connection

    def _not_ours(self) -> TokenizerGone:
        return TokenizerGone(
            f"what answers at {self._url} is not this service's tokenizer; "
            "stop the other program or set AX650_TOKENIZER_PORT"
        )


_INFO_FIELDS = tuple(TokenizerInfo.__annotations__.keys() - {"control_tokens", "folder"})
_TRACE_FIELDS = tuple(Trace.__annotations__.keys() - {"tokens"})
