"""The tokenizer server, called over real connections."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axproxy.control_tokens import ESCAPE
from axproxy.tokenizer.server import LONGEST_BODY, TokenizerServer
from axproxy.tokenizer.tokenizer import TextTokenizer
from tests.tokenizer.tokenizer_calls import Caller, sha256, vendor_run


def test_the_start_of_the_vendors_program_is_answered(call: Caller, small: TextTokenizer) -> None:
    uid = call.get("/get_uid")["uid"]
    assert call.get(f"/bos_id?uid={uid}") == {"bos_id": -1}
    assert call.get("/eos_id?uid=of-another-process") == {"eos_id": small.eos_id}
    assert call.post("/reset", {"uid": uid, "system_prompt": "You are."}) == {"token_ids": []}


def test_the_probe_returns_the_server_and_its_process(call: Caller) -> None:
    probe = call.get("/")
    assert probe["server"] == "axproxy tokenizer"
    assert call.get("/info")["epoch"] == call.get("/trace")["epoch"] == probe["epoch"]


def test_unknown_paths_are_answered_like_the_vendors(call: Caller) -> None:
    assert call.get("/health") == {"error": "Invalid GET endpoint"}
    assert call.get("//[") == {"error": "Invalid GET endpoint"}
    assert call.post("/nothing", {}) == {"error": "Invalid POST endpoint"}


def test_encode_returns_the_tokens_of_the_text_alone(call: Caller, small: TextTokenizer) -> None:
    text = "<|im_start|>user\nhow are you?<|im_end|>\n"
    answer = call.post("/encode", {"text": text, "uid": "x", "last_reply": "I am fine"})
    assert answer == {"token_ids": small.encode(text), "diff": small.encode(text)}


BROKEN = [b"", b"{", b"[]", b'{"text": 7}', b'{"uid": "x"}', b"\xff", b"[" * 100_000]


@pytest.mark.parametrize("body", BROKEN)
def test_a_broken_encode_gets_a_harmless_prompt(
    call: Caller, small: TextTokenizer, body: bytes
) -> None:
    answer = call.post("/encode", body)
    assert answer["diff"] == answer["token_ids"] == small.encode("\n") * 2
    trace = call.get("/trace")
    assert (trace["run"], trace["prompt_sha256"], trace["prompt_tokens"]) == (1, "", 2)


@pytest.mark.parametrize("text", ["", "a", "\ufdd0"])
def test_a_prompt_is_never_shorter_than_two_tokens(
    call: Caller, small: TextTokenizer, text: str
) -> None:
    diff = call.post("/encode", {"text": text})["diff"]
    assert len(diff) == 2
    assert diff[-1] == (small.encode(text) or small.encode("\n"))[-1]
    assert call.get("/trace")["prompt_sha256"] == sha256(text)


@pytest.mark.parametrize("body", [*BROKEN, b'{"token_ids": [1, "2"]}', b'{"token_ids": [true]}'])
def test_a_broken_decode_gets_no_text(call: Caller, body: bytes) -> None:
    assert call.post("/decode", body) == {"text": ""}


@pytest.mark.parametrize("body", BROKEN)
def test_a_broken_reset_is_a_reset(call: Caller, body: bytes) -> None:
    assert call.post("/reset", body) == {"token_ids": []}
    assert call.get("/trace")["resets"] == 1


def test_a_reset_leaves_the_cache_empty_unless_the_service_sends_a_beginning(
    call: Caller, small: TextTokenizer
) -> None:
    for words, ids in (
        ("You are a helpful assistant.", []),
        (ESCAPE + "Be kind, and brief.", small.encode("Be kind, and brief.")),
        (ESCAPE + "\n", []),  # exactly one token overruns device memory
        (ESCAPE, []),
    ):
        assert call.post("/reset", {"system_prompt": words}) == {"token_ids": ids}
        assert call.get("/trace")["reset_tokens"] == len(ids)


@pytest.mark.parametrize("path", ["/count", "/tokenize", "/detokenize"])
@pytest.mark.parametrize("body", BROKEN)
def test_a_broken_call_of_the_service_is_refused(call: Caller, path: str, body: bytes) -> None:
    status, answer = call("POST", path, body)
    assert status == 400
    assert ("token_ids" if path == "/detokenize" else "text") in answer["error"]


@pytest.mark.parametrize("query", ["after=x", "wait=nan", "have=inf"])
def test_a_broken_trace_query_is_refused(call: Caller, query: str) -> None:
    status, answer = call("GET", f"/trace?{query}")
    assert (status, answer["error"][-15:]) == (400, "is not a number")


def test_counting_and_tokenizing_leave_no_trace(call: Caller, small: TextTokenizer) -> None:
    assert call.post("/count", {"text": "one two"}) == {"tokens": small.count("one two")}
    assert call.post("/tokenize", {"text": "one"}) == {"token_ids": small.encode("one")}
    assert call.get("/trace")["version"] == 0


def test_a_body_that_is_too_large_is_read_and_refused(call: Caller) -> None:
    body = b'{"text": "' + b"a" * LONGEST_BODY + b'"}'
    assert call("POST", "/count", body)[0] == 400
    assert len(call.post("/encode", body)["diff"]) == 2


def connect(server: TokenizerServer) -> socket.socket:
    """A connection to the server."""
    return socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=60)


@contextmanager
def connections(server: TokenizerServer, number: int, sent: bytes = b"") -> Iterator[None]:
    """Connections that send `sent` and then nothing more."""
    with ExitStack() as stack:
        for _ in range(number):
            client = stack.enter_context(connect(server))
            client.sendall(sent)
        yield


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /enc",
        b"POST /encode HTTP/1.1\r\nContent-Length: 99\r\n\r\n{",
        b"GET /trace?wait=30 HTTP/1.1\r\n\r\n",
    ],
    ids=["silent", "half a head", "half a body", "waiting"],
)
def test_silent_connections_do_not_delay_others(
    server: TokenizerServer, call: Caller, sent: bytes
) -> None:
    with connections(server, 30, sent):
        began = time.monotonic()
        call.post("/decode", {"token_ids": [300]})
        assert time.monotonic() - began < 25


def raw(server: TokenizerServer, request: bytes) -> bytes:
    """Return all bytes that the server sends in reply to these."""
    with connect(server) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(65536):
            answer += part
        return answer


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "²"])
def test_an_invalid_length_is_a_broken_call(server: TokenizerServer, length: str) -> None:
    head = f"POST /encode HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"
    answer = raw(server, head.encode())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"diff":[' in answer


def test_an_old_client_is_served_too(server: TokenizerServer) -> None:
    answer = raw(server, b'POST /decode HTTP/1.0\r\nContent-Length: 19\r\n\r\n{"token_ids":[300]}')
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'{"text":"' in answer


def test_calls_on_one_connection_do_not_wait_for_acknowledgements(
    server: TokenizerServer,
) -> None:
    """Nagle's algorithm together with delayed acknowledgements costs 40 ms for each call, once the
    kernel no longer acknowledges at once."""
    took = []
    connection = HTTPConnection(server.address, timeout=60)
    for _ in range(30):
        began = time.monotonic()
        connection.request("POST", "/count", b'{"text": "a few words"}')
        assert connection.getresponse().read()
        took.append(time.monotonic() - began)
    connection.close()
    assert min(took[20:]) < 0.03


def test_the_runtime_gets_a_reply_whatever_fails(
    server: TokenizerServer, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(target: str, body: bytes | None) -> dict[str, Any]:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(server.handlers, "post", fail)
    assert len(call.post("/encode", {"text": "x"})["diff"]) == 2
    assert call.post("/decode", {"token_ids": [1]}) == {"text": ""}
    assert call.post("/reset", {}) == {"token_ids": []}
    assert "log" in call.post("/count", {"text": "x"})["error"]


def test_prompts_and_answers_are_not_logged(
    call: Caller, caplog: pytest.LogCaptureFixture, small: TextTokenizer
) -> None:
    caplog.set_level("INFO")
    vendor_run(call, "a secret prompt", small.encode("a secret answer"))
    call.post("/encode", b'{"text": "a secret')
    # Threads of an earlier test's server may still log; it must not contain the text.
    assert "a broken /encode was answered with a harmless prompt" in caplog.messages
    assert "secret" not in caplog.text


def exchanged(server: TokenizerServer, request: bytes) -> bytes:
    with socket.create_connection(server.server_address[:2], timeout=60) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


# The server is the same for all examples; and a crowded machine is slow to make the first.
BORNE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
paths = st.sampled_from(
    "/ /get_uid /bos_id /eos_id /info /encode /decode /reset /count /tokenize /trace /x".split()
)
queries = st.sampled_from(["", "?", "?uid=1", "?after=-1&run=x", "?have=1e308", "?\0", "?%00=%ff"])
things = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
calls = st.dictionaries(
    st.sampled_from(["text", "token_ids", "uid", "last_reply", "system_prompt"]), things, max_size=4
)


@settings(suppress_health_check=BORNE, deadline=20_000)
@given(
    method=st.sampled_from(["GET", "POST"]),
    path=paths,
    query=queries,
    body=st.binary(max_size=30) | calls.map(lambda call: json.dumps(call).encode()),
)
def test_any_call_of_any_path_is_answered(
    server: TokenizerServer, method: str, path: str, query: str, body: bytes
) -> None:
    head = f"{method} {path}{query} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    reply = exchanged(server, head.encode() + body)

    assert reply.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
    last = reply.rpartition(b"\r\n\r\n")[2] if method == "POST" else b"{}"
    assert isinstance(json.loads(last), dict)


@settings(suppress_health_check=BORNE, deadline=20_000)
@given(st.binary(max_size=60))
def test_bytes_that_are_not_http_do_no_harm(server: TokenizerServer, request_: bytes) -> None:
    reply = exchanged(server, request_)

    assert b"<" not in reply
    assert exchanged(server, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("length", ["9" * 19, "9" * 5000, "-1", "1e3", str(LONGEST_BODY * 1000)])
def test_a_body_shorter_than_its_length_ends_with_the_connection(
    server: TokenizerServer, length: str
) -> None:
    head = f"POST /encode HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{{}}"
    reply = exchanged(server, head.encode())

    assert reply.startswith(b"HTTP/1.1 200 ")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["token_ids"]
