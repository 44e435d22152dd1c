"""The trace of the runtime's calls, read over real connections."""

import json
import time
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axproxy.tokenizer.handlers import TokenizerHandlers
from axproxy.tokenizer.server import TokenizerServer
from axproxy.tokenizer.tokenizer import TextTokenizer
from tests.tokenizer.tokenizer_calls import Caller, sha256, vendor_run


def test_an_answer_is_streamed_in_whole_characters(call: Caller, small: TextTokenizer) -> None:
    answer = "Grüße 😀😀 and 你好, <think>"
    ids = small.encode(answer)
    assert vendor_run(call, "prompt", ids) == (answer, answer)


def test_the_trace_describes_the_run_exactly(call: Caller, small: TextTokenizer) -> None:
    ids = small.encode("A short answer 😀 of some tokens")
    text, _ = vendor_run(call, "the prompt", ids)
    trace = call.get("/trace")
    assert trace["prompt_sha256"] == sha256("the prompt")
    assert trace["prompt_tokens"] == small.count("the prompt")
    assert [token for token, _ in trace["tokens"]] == ids
    assert "".join(piece for _, piece in trace["tokens"]) == text
    assert (trace["run"], trace["complete"], trace["dangling"]) == (1, True, "")


def test_a_reader_of_the_trace_gets_only_new_tokens(call: Caller) -> None:
    call.post("/encode", {"text": "prompt"})
    call.post("/decode", {"token_ids": [300, 301, 302]})
    assert [token for token, _ in call.get("/trace?run=1&have=2")["tokens"]] == [302]
    for elsewhere in ("run=1&have=9", "run=1&have=-1", "run=7&have=2"):
        trace = call.get(f"/trace?{elsewhere}")
        assert (trace["have"], len(trace["tokens"])) == (0, 3)


def test_text_that_is_undecided_stays_out_of_the_trace(call: Caller) -> None:
    call.post("/encode", {"text": "prompt"})
    again = {"token_ids": [300, 300, 300]}
    assert call.post("/decode", again) == call.post("/decode", again)
    trace = call.get("/trace")
    assert (len(trace["tokens"]), trace["undecided"], trace["complete"]) == (3, True, False)
    call.post("/decode", again)
    assert len(call.get("/trace")["tokens"]) == 9


def test_half_a_character_does_not_reach_the_next_answer(
    call: Caller, small: TextTokenizer
) -> None:
    half = small.encode("\U000fffff")[:1]
    assert vendor_run(call, "first", [300, 301, 302, *half])[0] == small.decode([300, 301, 302])
    assert call.get("/trace")["dangling"] == "\ufffd"
    assert vendor_run(call, "second", small.encode("fine, thank you")) == ("fine, thank you",) * 2


def test_the_runtime_never_gets_a_nul(call: Caller, small: TextTokenizer) -> None:
    """It ends the text in the runtime's C strings."""
    ids = small.encode("a\0b and so on")
    assert vendor_run(call, "prompt", ids)[0] == "ab and so on"
    assert "".join(piece for _, piece in call.get("/trace")["tokens"]) == "ab and so on"


def test_after_a_restart_the_final_list_of_the_answer_counts(
    call: Caller, small: TextTokenizer
) -> None:
    ids = small.encode("an answer that had begun before")
    assert call.post("/decode", {"token_ids": ids[3:6]})["text"] == small.decode(ids[3:6])
    assert call.get("/trace")["tokens"] == []
    call.post("/decode", {"token_ids": ids})
    trace = call.get("/trace")
    assert (trace["run"], trace["complete"], len(trace["tokens"])) == (0, True, len(ids))


@settings(deadline=None, max_examples=60)
@given(ids=st.lists(st.integers(0, 3726), min_size=1, max_size=12), stopped=st.booleans())
def test_the_trace_of_any_answer_is_exact(
    small: TextTokenizer, ids: list[int], stopped: bool
) -> None:
    handlers = TokenizerHandlers(small)
    handlers.post("/encode", b'{"text": "prompt"}')
    tokens: list[Any] = []
    whole = len(ids) - len(ids) % 3
    groups = [ids[start : start + 3] for start in range(0, whole, 3)]
    for call in [*groups, *([ids[whole:]] if ids[whole:] and not stopped else []), ids]:
        handlers.post("/decode", json.dumps({"token_ids": call}).encode())
        trace = handlers.get(f"/trace?run=1&have={len(tokens)}")
        assert trace["have"] == len(tokens)
        tokens += trace["tokens"]
    assert [token for token, _ in tokens] == ids
    text = small.decode(ids).replace("\0", "")
    assert "".join(piece for _, piece in tokens) + trace["dangling"] == text


class Reader:
    """A reader of the trace whose request is on its way when the object is made."""

    def __init__(self, server: TokenizerServer, query: str) -> None:
        self._connection = HTTPConnection(server.address, timeout=20)
        self._connection.request("GET", f"/trace?{query}", headers={"Connection": "close"})

    def trace(self) -> Any:
        """Return what the reader gets, once it gets it."""
        with closing(self._connection):
            return json.loads(self._connection.getresponse().read())


@pytest.mark.parametrize(
    ("path", "body"),
    [("/encode", {"text": "x"}), ("/decode", {"token_ids": [1]}), ("/reset", {})],
)
def test_each_call_of_the_runtime_wakes_the_readers(
    server: TokenizerServer, call: Caller, path: str, body: dict[str, Any]
) -> None:
    for version in range(5):
        readers = [Reader(server, f"after={version}&wait=30") for _ in range(3)]
        began = time.monotonic()
        call.post(path, body)
        assert [reader.trace()["version"] for reader in readers] == [version + 1] * 3
        assert time.monotonic() - began < 15


def test_a_reader_waits_no_longer_than_it_asked_for(call: Caller) -> None:
    began = time.monotonic()
    assert call.get("/trace?after=0&wait=0.2")["version"] == 0
    assert 0.15 < time.monotonic() - began < 15


def test_a_version_of_another_process_does_not_delay_a_reader(call: Caller) -> None:
    began = time.monotonic()
    assert call.get("/trace?after=57&wait=20")["version"] == 0
    assert time.monotonic() - began < 15
