"""The client of our tokenizer server."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from axproxy.errors import TokenizerGone
from axproxy.tokenizer.client import Token, TokenizerClient
from axproxy.tokenizer.server import TokenizerServer
from axproxy.tokenizer.tokenizer import TextTokenizer
from tests.support.loopback_server import (
    CLOSE,
    HANG,
    RESET,
    LoopbackServer,
    Reply,
    loopback_server,
    reply,
)
from tests.tokenizer.tokenizer_calls import Caller


@pytest.fixture(name="client")
def client_of_the_server(server: TokenizerServer) -> TokenizerClient:
    """A client of a real tokenizer server."""
    return TokenizerClient(f"http://{server.address}/")


@pytest.fixture(name="other")
def any_other_server() -> Iterator[LoopbackServer]:
    """Answers in the tokenizer's place."""
    with loopback_server() as server:
        yield server


def test_it_understands_the_replies_of_the_server(
    client: TokenizerClient, call: Caller, small: TextTokenizer
) -> None:
    info = client.info()
    assert info.eos_id == small.eos_id
    assert info.control_tokens == small.control_tokens
    assert client.count("some words") == small.count("some words")
    assert client.answers()
    call.post("/encode", {"text": "prompt"})
    call.post("/decode", {"token_ids": [300, 301, 302]})
    trace = client.trace(after=1, run=1, have=1, wait=5)
    assert trace.tokens == tuple(Token(id_, small.decode([id_])) for id_ in (301, 302))
    assert (trace.epoch, trace.run, trace.have, trace.version) == (info.epoch, 1, 1, 2)


def test_a_lone_surrogate_can_be_counted(client: TokenizerClient, small: TextTokenizer) -> None:
    assert client.count("\ud800") == small.count("\ufffd")


def test_several_threads_may_use_it(client: TokenizerClient, small: TextTokenizer) -> None:
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(client.count, ["word " * n for n in range(40)]))
    assert counts == [small.count("word " * n) for n in range(40)]


def test_a_refused_connection_is_tokenizer_gone() -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))  # bound, not listening: refuses connections
        client = TokenizerClient(f"http://127.0.0.1:{placeholder.getsockname()[1]}")
        assert not client.answers()
        with pytest.raises(TokenizerGone, match=r"does not answer \(connection refused\)"):
            client.count("x")


def test_a_server_that_does_not_reply_is_tokenizer_gone(other: LoopbackServer) -> None:
    other.on("GET", "/info", HANG)
    with pytest.raises(TokenizerGone, match=r"does not answer \(timed out\)"):
        TokenizerClient(other.url, timeout=0.1).info()
    assert len(other.requests) == 1


def test_a_call_that_waits_for_the_trace_has_that_much_more_time(other: LoopbackServer) -> None:
    other.on("GET", "/trace", HANG)
    began = time.monotonic()
    with pytest.raises(TokenizerGone, match="timed out"):
        TokenizerClient(other.url, timeout=0.01).trace(wait=0.2)
    assert time.monotonic() - began >= 0.2


def test_a_thread_keeps_its_connection_open(other: LoopbackServer) -> None:
    other.on("POST", "/count", reply(json={"tokens": 3}))
    client = TokenizerClient(other.url)
    assert [client.count("x"), client.count("x")] == [3, 3]
    assert other.connections == 1


def test_a_connection_closed_while_idle_is_opened_again(other: LoopbackServer) -> None:
    """The server closes each connection after its reply, without announcing it."""
    other.on("POST", "/count", reply(json={"tokens": 3}, then="close"))
    client = TokenizerClient(other.url)
    assert [client.count("x"), client.count("x"), client.count("x")] == [3, 3, 3]


@pytest.mark.parametrize("fault", [CLOSE, RESET], ids=["closed", "reset"])
def test_a_lost_connection_is_tried_once_more(other: LoopbackServer, fault: Reply) -> None:
    other.on("POST", "/count", fault, reply(json={"tokens": 2}))
    assert TokenizerClient(other.url).count("x") == 2


@pytest.mark.parametrize("fault", [CLOSE, RESET], ids=["closed", "reset"])
def test_a_connection_that_is_lost_twice_is_tokenizer_gone(
    other: LoopbackServer, fault: Reply
) -> None:
    other.on("POST", "/count", fault)
    with pytest.raises(TokenizerGone, match="does not answer"):
        TokenizerClient(other.url).count("x")
    assert len(other.requests) == 2


def test_half_a_reply_is_tokenizer_gone(other: LoopbackServer) -> None:
    other.on("POST", "/count", reply(headers={"Content-Length": "12"}, then="close"))
    with pytest.raises(TokenizerGone, match="does not answer"):
        TokenizerClient(other.url).count("x")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "{}"),
        (200, "[]"),
        (200, "no json"),
        (200, '{"error": "Invalid GET endpoint"}'),
        (200, '{"tokens": "many", "control_tokens": 3}'),
        (404, "{}"),
        (302, "{}"),
    ],
)
def test_replies_of_another_server_are_not_understood(
    other: LoopbackServer, status: int, body: str
) -> None:
    for method, path in (("GET", "/"), ("GET", "/info"), ("GET", "/trace"), ("POST", "/count")):
        other.on(method, path, reply(status, body=body))
    client = TokenizerClient(other.url)
    assert not client.answers()
    for ask in (client.info, client.trace, lambda: client.count("x")):
        with pytest.raises(TokenizerGone, match="not this service's tokenizer"):
            ask()


def test_a_proxy_in_the_environment_does_not_catch_the_calls(
    client: TokenizerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert client.answers()
