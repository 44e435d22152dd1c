"""The ports on which the service itself listens."""

import os
import socket
import sys
from collections.abc import Iterator

import pytest

from axproxy.server.doors_taken import why_not_listen
from tests.support.ports import own_port
from tests.support.service import ROOT, run


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_can_be_listened_on() -> None:
    assert why_not_listen("127.0.0.1", {own_port(): "AX650_PORT"}) is None


def test_a_taken_port_is_told_with_its_holder_and_the_setting_that_moves_it(taken: int) -> None:
    sentence = why_not_listen("127.0.0.1", {own_port(): "AX650_PORT", taken: "AX650_OLLAMA_PORT"})

    assert sentence is not None
    assert sentence.startswith(f"port {taken} is held by ")
    assert f"(pid {os.getpid()})" in sentence
    assert sentence.endswith("or choose another port with AX650_OLLAMA_PORT")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_told(host: str) -> None:
    sentence = why_not_listen(host, {own_port(): "AX650_PORT"})

    assert sentence is not None
    assert sentence.startswith(f"{host} is no address of this machine; set AX650_HOST to")


@pytest.mark.parametrize("variable", ["AX650_PORT", "AX650_OLLAMA_PORT"])
def test_the_service_says_in_one_sentence_who_has_its_port(taken: int, variable: str) -> None:
    ports = {"AX650_PORT": str(own_port()), variable: str(taken)}
    result = run(sys.executable, str(ROOT / "backend.py"), **ports)

    assert result.returncode == 1  # systemd tries again after that
    assert f"backend: port {taken} is held by" in result.stderr
    assert variable in result.stderr
    assert "Errno" not in result.stderr
