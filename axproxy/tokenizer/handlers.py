"""Handles the calls of the runtime and of the service; no networking here.

The runtime makes the calls of the vendor's tokenizer script, and none of them can be refused.
Observed on the vendor's binary: after a status other than 200 from /encode it answers the previous
user's prompt again; a missing key aborts it; a closed connection or ten seconds of silence end in a
segmentation fault.  So every call of the runtime gets a 200 with the key that it needs.
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
from axproxy.tokenizer.pieces import Untokenizable
from axproxy.tokenizer.run_trace import RunTrace
from axproxy.tokenizer.tokenizer import TextTokenizer

log = logging.getLogger(__name__)

NAME = "axproxy tokenizer"  # by which the probe recognises this server
LONGEST_WAIT = 30.0  # seconds that a reader of the trace may wait

JsonObject = dict[str, Any]


class BadCall(Exception):
    """A call of the service makes no sense; calls of the runtime never raise this."""


class TokenizerHandlers:
    """Handles the calls to one tokenizer process.  `epoch` is unique to the process."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.epoch = secrets.token_hex(8)
        self._tokenizer = tokenizer
        self._trace = RunTrace(tokenizer.detokenizer)
        newline = tokenizer.encode("\n") or tokenizer.encode("a") or [tokenizer.eos_id]
        self._harmless = (newline * 2)[-2:]

    def get(self, target: str) -> JsonObject:
        """Return the reply to GET of a path with its query.  Raises `BadCall`."""
        path, _, query = target.partition("?")
        match path:
            case "/":
                return {"server": NAME, "epoch": self.epoch}
            case "/get_uid":
                # Any uid is accepted later, so a restarted tokenizer does not kill the runtime.
                self._trace.started()
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

    def post(self, target: str, body: bytes | None) -> JsonObject:
        """Return the reply to POST; `body` is None if it could not be read.

        Raises `BadCall` and `Untokenizable`.
        """
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

    def fallback(self, target: str) -> JsonObject:
        """Return a reply that keeps the runtime alive when handling the call has failed."""
        match target.partition("?")[0]:
            case "/encode":
                return {"token_ids": self._harmless, "diff": self._harmless}
            case "/decode":
                return {"text": ""}
            case "/reset":
                return {"token_ids": []}
        return {"error": "the tokenizer failed; its log says why"}

    def _reset(self, request: Mapping[str, Any]) -> list[int]:
        # Zero tokens: the whole prompt, system message included, comes with /encode.  Only a text
        # that begins with ESCAPE is the service's: a beginning of prompts to be put in the cache.
        text, ids = request.get("system_prompt"), []
        if isinstance(text, str) and text.startswith(ESCAPE):
            try:
                ids = self._tokenizer.encode(text)
            except Untokenizable as error:
                log.warning("a beginning cannot be tokenized (%s)", error)
        if len(ids) == 1:
            ids = []  # a single token overruns device memory (observed)
        self._trace.reset(len(ids))
        return ids

    def _encode(self, request: Mapping[str, Any]) -> JsonObject:
        text = request.get("text")
        try:
            ids = self._tokenizer.encode(text) if isinstance(text, str) else None
        except Untokenizable as error:
            log.warning("the runtime's prompt cannot be tokenized (%s)", error)
            ids = None
        if ids is None:
            # No request has this prompt, so its answer reaches no client.
            log.warning("a broken /encode was answered with a harmless prompt")
            ids, sha256 = self._harmless, ""
        else:
            sha256 = hashlib.sha256(str(text).encode("utf-8", "surrogatepass")).hexdigest()
        if len(ids) < 2:
            # The runtime prefills a single first token in its one-slot group, as after a /reset.
            # Without any token it continues from a zero embedding (both observed).
            ids = (self._harmless + ids)[-2:]
        self._trace.encoded(len(ids), sha256)
        return {"token_ids": ids, "diff": ids}

    def _decode(self, request: Mapping[str, Any]) -> str:
        ids = request.get("token_ids")
        if not isinstance(ids, list) or not all(type(id_) is int for id_ in ids):
            log.warning("a broken /decode was answered with no text")
            return ""
        return self._trace.decoded(ids)

    def _read_trace(self, query: Mapping[str, Sequence[str]]) -> JsonObject:
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
