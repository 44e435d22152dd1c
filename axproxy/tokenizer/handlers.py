"""What the tokenizer answers to the runtime and to the proxy; no networking here.

The runtime's calls are the ones of the vendor's tokenizer script, and there is no clean way to
refuse one.  Observed on the vendor's binary: after a status other than 200 from /encode it answers
the previous user's prompt again, a missing key aborts it, a closed connection or ten seconds of
silence are a segmentation fault.  So every call of the runtime gets a 200 with the key it needs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from axproxy.control_tokens import ESCAPE
from axproxy.tokenizer.run_trace import RunTrace
from axproxy.tokenizer.tokenizer import TextTokenizer, Untokenizable

log = logging.getLogger(__name__)

NAME = "axproxy tokenizer"  # how the probe tells this server from the vendor's
LONGEST_WAIT = 30.0  # seconds a reader of the trace may be kept

Answer = dict[str, Any]


class BadCall(Exception):
    """A call of the proxy's that makes no sense; the runtime's calls never raise this."""


class TokenizerAnswers:
    """The answers of one tokenizer process, whose `epoch` no other process shares."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.epoch = secrets.token_hex(8)
        self._tokenizer = tokenizer
        self._trace = RunTrace(tokenizer.stream)
        newline = tokenizer.encode("\n") or tokenizer.encode("a") or [tokenizer.eos_id]
        self._harmless = (newline * 2)[-2:]

    def get(self, target: str) -> Answer:
        """The answer to GET of a path with its query.  Raises BadCall."""
        path, _, query = target.partition("?")
        match path:
            case "/":
                return {"server": NAME, "epoch": self.epoch}
            case "/get_uid":
                # Any uid is accepted later, so a restarted tokenizer does not kill the runtime.
                return {"uid": "axproxy"}
            case "/bos_id":
                return {"bos_id": self._tokenizer.bos_id}
            case "/eos_id":
                return {"eos_id": self._tokenizer.eos_id}
            case "/info":
                return self._tokenizer.info() | {"server": NAME, "epoch": self.epoch}
            case "/trace":
                return self._read_trace(parse_qs(query))
        return {"error": "Invalid GET endpoint"}

    def post(self, target: str, body: bytes | None) -> Answer:
        """The answer to POST; the body is None if it could not be read.  Raises BadCall."""
        request = _json_object(body)
        match target.partition("?")[0]:
            case "/encode":
                return self._encode(request)
            case "/decode":
                return {"text": self._decode(request)}
            case "/reset":
                return {"token_ids": self._reset(request)}
            case "/count":
                return {"tokens": self._tokenizer.count(_text(request))}
            case "/tokenize":
                return {"token_ids": self._tokenizer.encode(_text(request))}
            case "/detokenize":
                return {"text": self._tokenizer.spell(_ids(request))}
        return {"error": "Invalid POST endpoint"}

    def last_resort(self, target: str) -> Answer:
        """An answer that keeps the runtime alive, whatever broke here."""
        match target.partition("?")[0]:
            case "/encode":
                return {"token_ids": self._harmless, "diff": self._harmless}
            case "/decode":
                return {"text": ""}
            case "/reset":
                return {"token_ids": []}
        return {"error": "the tokenizer failed; its log says why"}

    def _reset(self, request: Mapping[str, Any]) -> list[int]:
        # Zero tokens: the whole prompt, system message included, comes with /encode.  Unless it
        # is the proxy, known by its MARK, that wants a beginning of prompts to be in the cache.
        text, ids = request.get("system_prompt"), []
        if isinstance(text, str) and text.startswith(ESCAPE):
            try:
                ids = self._tokenizer.encode(text)
            except Untokenizable as error:
                log.warning("a beginning cannot be tokenized (%s)", error)
        if len(ids) == 1:
            ids = []  # one token alone overruns device memory (observed)
        self._trace.reset(len(ids))
        return ids

    def _encode(self, request: Mapping[str, Any]) -> Answer:
        text = request.get("text")
        try:
            ids = self._tokenizer.encode(text) if isinstance(text, str) else None
        except Untokenizable as error:
            log.warning("the runtime's prompt cannot be tokenized (%s)", error)
            ids = None
        if ids is None:
            # Nobody's prompt, so nobody takes the answer to it for theirs.
            log.warning("a broken /encode was answered with a harmless prompt")
            ids, sha256 = self._harmless, ""
        else:
            sha256 = hashlib.sha256(str(text).encode("utf-8", "surrogatepass")).hexdigest()
        if len(ids) < 2:
            # The runtime prefills a single first token in its one-slot group, as it does after a
            # /reset; no token at all makes it continue from a zero embedding (both observed).
            ids = (self._harmless + ids)[-2:]
        self._trace.encoded(len(ids), sha256)
        return {"token_ids": ids, "diff": ids}

    def _decode(self, request: Mapping[str, Any]) -> str:
        ids = request.get("token_ids")
        if not isinstance(ids, list) or not all(type(id_) is int for id_ in ids):
            log.warning("a broken /decode was answered with no text")
            return ""
        return self._trace.decoded(ids)

    def _read_trace(self, query: Mapping[str, Sequence[str]]) -> Answer:
        def number(name: str) -> float:
            try:
                value = float(query.get(name, ["0"])[-1])
            except ValueError as error:
                raise BadCall(f"{name} is not a number") from error
            if not math.isfinite(value):
                raise BadCall(f"{name} is not a number")
            return value

        trace = self._trace.read(
            after=int(number("after")),
            run=int(number("run")),
            have=int(number("have")),
            wait=min(max(number("wait"), 0.0), LONGEST_WAIT),
        )
        return {"epoch": self.epoch} | trace


def _json_object(body: bytes | None) -> Mapping[str, Any]:
    try:
        request = json.loads(body or b"")
    except (ValueError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {}


def _text(request: Mapping[str, Any]) -> str:
    text = request.get("text")
    if not isinstance(text, str):
        raise BadCall('the body is not a JSON object with a string "text", or over 16 MiB')
    return text


def _ids(request: Mapping[str, Any]) -> list[int]:
    ids = request.get("token_ids")
    if not isinstance(ids, list) or not all(type(id_) is int for id_ in ids):
        raise BadCall('the body is not a JSON object with whole numbers in "token_ids"')
    return ids
