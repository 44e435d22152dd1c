"""The ports on which the service listens, and how many connections it may have open."""

from __future__ import annotations

import os
import resource
import socket
import sys
from collections.abc import Iterator

import pytest

from axproxy.server.listeners import TooFewDescriptors, room_for_connections, why_unavailable
from tests.support.ports import own_port
from tests.support.service import ROOT, run

NO_LIMIT = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "set_to", "room"),
    [
        (1024, 524288, 2200, 2000),
        (1024, NO_LIMIT, 2200, 2000),
        (1024, 1024, 1024, 824),
        (20000, 20000, None, 2000),
        (NO_LIMIT, NO_LIMIT, None, 2000),
        (128, 128, 128, 32),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, set_to: int | None, room: int
) -> None:
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.append(new))

    assert room_for_connections(2000) == room
    assert limits[1:] == ([] if set_to is None else [(set_to, hard)])


def test_too_few_descriptors_are_refused_with_the_way_to_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (48, 48))

    with pytest.raises(TooFewDescriptors, match="may open 48 files, .* ulimit -n 1024"):
        room_for_connections(2000)


def test_a_start_with_too_few_descriptors_ends_with_one_sentence() -> None:
    command = f"ulimit -n 50; exec {sys.executable} {ROOT / 'backend.py'}"
    result = run("/bin/sh", "-c", command, AX650_PORT=str(own_port()))

    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("backend: this process may open 50 files")
    assert "Traceback" not in result.stderr


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_can_be_listened_on() -> None:
    assert why_unavailable("127.0.0.1", {own_port(): "AX650_PORT"}) is None


def test_a_taken_port_is_reported_with_its_holder_and_the_setting_that_moves_it(taken: int) -> None:
    sentence = why_unavailable("127.0.0.1", {own_port(): "AX650_PORT", taken: "AX650_OLLAMA_PORT"})

    assert sentence is not None
    assert sentence.startswith(f"port {taken} is held by ")
    assert f"(pid {os.getpid()})" in sentence
    assert sentence.endswith("or choose another port with AX650_OLLAMA_PORT")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_reported(host: str) -> None:
    sentence = why_unavailable(host, {own_port(): "AX650_PORT"})

    assert sentence is not None
    assert sentence.startswith(f"{host} is no address of this machine; set AX650_HOST to")
    sentence = why_unavailable(host, {own_port(): "OLLAMA_HOST"}) or ""
    assert sentence.startswith(f"{host} is no address of this machine; set OLLAMA_HOST to")


@pytest.mark.parametrize("variable", ["AX650_PORT", "AX650_OLLAMA_PORT"])
def test_the_service_reports_in_one_sentence_what_holds_its_port(taken: int, variable: str) -> None:
    ports = {"AX650_PORT": str(own_port()), "AX650_RUNTIME_PORT": str(own_port())}
    ports[variable] = str(taken)  # a service may run on this machine, and holds the default ports
    result = run(sys.executable, str(ROOT / "backend.py"), **ports)

    assert result.returncode == 1  # systemd tries again after that
    assert f"backend: port {taken} is held by" in result.stderr
    assert variable in result.stderr
    assert "Errno" not in result.stderr
