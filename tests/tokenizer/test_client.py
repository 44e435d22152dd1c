"""The proxy's side of the tokenizer's protocol."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import responses

from axproxy.errors import TokenizerGone
from axproxy.tokenizer.client import Token, TokenizerClient
from axproxy.tokenizer.server import TokenizerServer
from axproxy.tokenizer.tokenizer import TextTokenizer
from tests.tokenizer.tokenizer_calls import Caller

URL = "http://127.0.0.1:12345"


@pytest.fixture(name="client")
def client_of_the_server(server: TokenizerServer) -> TokenizerClient:
    """A client of a real server."""
    return TokenizerClient(f"http://{server.address}/")


def test_it_understands_what_the_server_says(
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


def test_nobody_there_is_tokenizer_gone() -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))  # bound, not listening: refuses connections
        client = TokenizerClient(f"http://127.0.0.1:{placeholder.getsockname()[1]}")
        assert not client.answers()
        with pytest.raises(TokenizerGone, match="does not answer"):
            client.count("x")


def test_a_server_that_keeps_silent_is_tokenizer_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = TokenizerClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1)
        with pytest.raises(TokenizerGone, match="ReadTimeout"):
            client.info()


def test_a_connection_closed_while_idle_is_opened_again() -> None:
    """The server answers one call per connection and closes it without saying so."""

    def serve(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                body = b'{"tokens":3}'
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + body)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        client = TokenizerClient(f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert [client.count("x"), client.count("x")] == [3, 3]
        server.join(60)


@responses.activate
def test_a_lost_connection_is_tried_once_more() -> None:
    responses.post(f"{URL}/count", body=requests.ConnectionError("reset"))
    responses.post(f"{URL}/count", json={"tokens": 2})
    assert TokenizerClient(URL).count("x") == 2


@responses.activate
def test_but_not_for_ever() -> None:
    responses.post(f"{URL}/count", body=requests.ConnectionError("reset"))
    with pytest.raises(TokenizerGone):
        TokenizerClient(URL).count("x")
    assert len(responses.calls) == 2


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
@responses.activate
def test_another_servers_answers_are_not_understood(status: int, body: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/info"), ("GET", "/trace"), ("POST", "/count")):
        responses.add(method, URL + path, body=body, status=status)
    client = TokenizerClient(URL)
    assert not client.answers()
    for ask in (client.info, client.trace, lambda: client.count("x")):
        with pytest.raises(TokenizerGone, match="not this service's tokenizer"):
            ask()


def test_proxies_of_the_environment_are_not_for_the_loopback(
    client: TokenizerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert client.answers()
