"""The programs that listen on a port are found with their names."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from axproxy.process.ports import PortHolder, free_port, holders, strangers

LISTEN = """
import socket, sys
held = socket.create_server(("127.0.0.1", 0))
print(held.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(name="listener")
def listening_socket() -> Iterator[socket.socket]:
    """A port held by this process."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held


@pytest.fixture(name="neighbour")
def listening_child() -> Iterator[tuple[int, int]]:
    """The pid of a child process, and the port it listens on."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        yield child.pid, int(child.stdout.readline())
        child.communicate()  # closes its input, which ends it


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def test_a_free_port_has_no_holder() -> None:
    assert holders(free_port()) == []


def test_a_port_that_was_free_can_be_bound() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as bound:
        assert port_of(bound) > 0


def test_a_listener_is_found_with_its_pid(listener: socket.socket) -> None:
    assert holders(port_of(listener)) == [PortHolder(os.getpid())]


def test_a_port_that_only_a_client_uses_has_no_holder(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname()) as client:
        assert holders(port_of(client)) == []


def test_several_programs_can_hold_one_port() -> None:
    with socket.socket() as first, socket.socket() as second:
        for number, shared in enumerate((first, second)):
            shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            shared.bind(("127.0.0.1", port_of(first) if number else 0))
            shared.listen()
        # Both are ours here, and one process is named once.
        assert holders(port_of(first)) == [PortHolder(os.getpid())]


def test_a_descendant_of_ours_is_not_a_stranger(neighbour: tuple[int, int]) -> None:
    pid, port = neighbour
    assert strangers(port, pid) == []
    assert strangers(port, os.getpid()) == []


def test_any_other_listener_is_a_stranger(
    neighbour: tuple[int, int], listener: socket.socket
) -> None:
    pid, port = neighbour
    assert strangers(port_of(listener), pid) == [PortHolder(os.getpid())]
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert strangers(port, dead.pid) == [PortHolder(pid)]


def test_a_holder_that_cannot_be_inspected_is_named_as_far_as_known() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert str(PortHolder(ended.pid)) == f"pid {ended.pid}"
    assert str(PortHolder(None)) == "a program of another user"
