"""Who may call the tokenizer server, over real connections."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from axproxy.tokenizer import peers
from axproxy.tokenizer.access import HEADER, TokenizerAccess, proof
from axproxy.tokenizer.peers import Peer, PeerSockets, SameUser, Siblings
from axproxy.tokenizer.server import TokenizerServer
from axproxy.tokenizer.tokenizer import TextTokenizer
from tests.tokenizer.tokenizer_calls import Caller

SERVICE = [("GET", "/info"), ("GET", "/trace"), ("POST", "/count"), ("POST", "/detokenize")]
RUNTIME = [("GET", "/get_uid"), ("GET", "/eos_id"), ("POST", "/encode"), ("POST", "/reset")]
ALL = [("GET", "/"), *SERVICE, *RUNTIME, ("POST", "/tokenize"), ("GET", "/other")]
CONNECT = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))).recv(1)"


class Runtime:
    """A peer check that counts how often it is asked."""

    def __init__(self, *, is_it: bool) -> None:
        self.is_it = is_it
        self.asked = 0

    def __call__(self, _connection: socket.socket) -> bool:
        self.asked += 1
        return self.is_it

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture(params=[True, False], ids=["runtime", "stranger"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return Runtime(is_it=request.param)


@pytest.fixture
def call(small: TextTokenizer, runtime: Runtime) -> Iterator[Caller]:
    access = TokenizerAccess("the secret", runtime)
    with TokenizerServer(("127.0.0.1", 0), small, access) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Caller(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "header",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:12345"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
        {"Host": "evil.example:12345"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "127.0.0.1@evil.example"},
        {"Host": "192.168.1.5:12345"},
        {"Host": ""},
    ],
    ids=str,
)
def test_a_web_page_is_refused_on_every_route(call: Caller, header: dict[str, str]) -> None:
    for method, path in ALL:
        assert call(method, path, {}, {HEADER: proof("the secret"), **header})[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "[::1]:9", "127.0.0.2", "LOCALHOST"])
def test_every_name_of_this_machine_is_accepted(call: Caller, host: str) -> None:
    assert call("GET", "/", None, {"Host": host})[0] == 200


@pytest.mark.parametrize("sent", [None, "", "wrong", "the secret", proof("wrong"), "ü"])
def test_the_services_routes_need_the_secret(call: Caller, sent: str | None) -> None:
    headers = {} if sent is None else {HEADER: sent}
    for method, path in SERVICE:
        assert call(method, path, {}, headers)[0] == 403
        assert call(method, path, {}, {HEADER: proof("the secret")})[0] in (200, 400)


def test_the_runtimes_routes_need_its_process(call: Caller, runtime: Runtime) -> None:
    for method, path in RUNTIME:
        status = call(method, path, {}, {HEADER: proof("the secret")})[0]
        assert status == (200 if runtime.is_it else 403)


def test_a_refused_call_leaves_no_trace(call: Caller, runtime: Runtime) -> None:
    if not runtime.is_it:
        call("POST", "/encode", {"text": "evil"})
        call("POST", "/reset", {})
        trace = call("GET", "/trace", None, {HEADER: proof("the secret")})[1]
        assert (trace["version"], trace["run"], trace["resets"]) == (0, 0, 0)


@pytest.mark.parametrize("netlink", [True, False])
def test_the_socket_at_the_other_end_is_found(
    netlink: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not netlink:
        monkeypatch.setattr(peers, "_NETLINK_SOCK_DIAG", 99)
    sockets = PeerSockets()
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        connection, _ = server.accept()
        with connection:
            inode = os.fstat(client.fileno()).st_ino
            assert sockets.find(connection) == Peer(inode, os.geteuid())
            same_user = SameUser()
            assert same_user(connection)
            same_user.close()
            client.close()
            gone = sockets.find(connection)
            assert gone is None or gone.inode == 0
    sockets.close()


def test_only_children_of_the_parent_are_siblings() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [sys.executable, "-c", CONNECT, str(port)]
        child = subprocess.Popen(command)
        held, _ = server.accept()
        with held, socket.create_connection(server.getsockname()):
            ours, _ = server.accept()
            family = Siblings(os.getpid())
            with ours:
                for _ in range(3):
                    assert family(held)
                    assert not family(ours)  # the parent itself is none
            stranger = Siblings(child.pid)
            assert not stranger(held)
            family.close()
            stranger.close()
        child.wait()
