"""Everything that takes the vendor's five seconds, all at the same time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mock.byte_tokenizer import ByteTokenizer
from tests.mock.conftest import Runtime, read_to_end, runtime_in

pytestmark = pytest.mark.integration

PROBE = b"OPTIONS / HTTP/1.1\r\n\r\n"
LAST_PROBE = b"OPTIONS / HTTP/1.1\r\nConnection: close\r\n\r\n"
LATE = 20.0  # seconds that a busy machine may need for five
POST = b"POST /api/reset HTTP/1.1\r\nConnection: close\r\n"


@dataclass(frozen=True)
class Ending:
    """What came over a connection, and the seconds until it was closed."""

    data: bytes
    seconds: float


def until_closed(sent: bytes) -> Callable[[Runtime], Ending]:
    """Send `sent`, which is incomplete, and wait for the end."""

    def wait(runtime: Runtime) -> Ending:
        begun = time.monotonic()
        return Ending(runtime.exchange(sent), time.monotonic() - begun)

    return wait


def half_the_headers(runtime: Runtime) -> Ending:
    """Send headers without their end; the connection would stay open for another five seconds."""
    with runtime.connect() as connection:
        begun = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        return Ending(connection.recv(65536), time.monotonic() - begun)


def behind_eight(runtime: Runtime) -> Ending:
    """Send a request while eight connections are silent."""
    begun = time.monotonic()
    silent = [runtime.connect() for _ in range(8)]
    answer = runtime.exchange(LAST_PROBE)
    seconds = time.monotonic() - begun
    for connection in silent:
        connection.close()
    return Ending(answer, seconds)


def sigint_with_idle_connection(runtime: Runtime) -> Ending:
    """Send SIGINT while a client keeps its connection."""
    with runtime.connect() as connection:
        begun = time.monotonic()
        connection.sendall(PROBE)
        connection.recv(65536)
        time.sleep(0.2)  # a server interrupted right after a response would not wait
        runtime.signal(signal.SIGINT)
        read_to_end(connection)
        status = runtime.exit_status()
        return Ending(str(status).encode(), time.monotonic() - begun)


SCENES: dict[str, Callable[[Runtime], Ending]] = {
    "silent": until_closed(b""),
    "idle after a request": until_closed(PROBE),
    "half a request line": until_closed(b"GET /ap"),
    "half the headers": half_the_headers,
    "no length": until_closed(POST + b"\r\n"),
    "half a body": until_closed(POST + b"Content-Length: 9\r\n\r\n{}"),
    "behind eight": behind_eight,
    "sigint": sigint_with_idle_connection,
}


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ending]]:
    """Run all cases at once: six connections share a runtime, two cases have their own."""
    tokenizer = ByteTokenizer()
    folders: list[Path] = [tmp_path_factory.mktemp("scene") for _ in range(3)]
    runtimes = [runtime_in(folder, tokenizer, ready=False) for folder in folders]
    try:
        for runtime in runtimes:
            runtime.ready()
        own = {"behind eight": runtimes[1], "sigint": runtimes[2]}
        with ThreadPoolExecutor(len(SCENES)) as stage:
            playing: dict[str, Future[Ending]] = {
                name: stage.submit(scene, own.get(name, runtimes[0]))
                for name, scene in SCENES.items()
            }
            yield {name: future.result() for name, future in playing.items()}
    finally:
        for runtime in runtimes:
            runtime.close()
        tokenizer.close()


@pytest.mark.parametrize("name", ["silent", "half a request line"])
def test_a_connection_without_a_request_is_closed_after_five_seconds(
    endings: dict[str, Ending], name: str
) -> None:
    assert endings[name].data == b""
    assert 4.9 < endings[name].seconds < LATE


def test_an_idle_connection_is_closed_after_five_seconds(endings: dict[str, Ending]) -> None:
    assert endings["idle after a request"].data.count(b"HTTP/1.1 200 OK\r\n") == 1
    assert 4.9 < endings["idle after a request"].seconds < LATE


def test_half_the_headers_are_a_400_after_five_seconds(endings: dict[str, Ending]) -> None:
    assert endings["half the headers"].data == (
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nKeep-Alive: timeout=5, max=5\r\n\r\n"
    )
    assert 4.9 < endings["half the headers"].seconds < LATE


def test_a_post_without_length_waits_five_seconds_for_a_body(endings: dict[str, Ending]) -> None:
    assert endings["no length"].data.endswith(b'\r\n\r\n{"error": "Invalid request format"}')
    assert 4.9 < endings["no length"].seconds < LATE


def test_half_a_body_is_a_400_after_five_seconds(endings: dict[str, Ending]) -> None:
    assert endings["half a body"].data.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert endings["half a body"].data.endswith(b"Content-Length: 0\r\n\r\n")
    assert 4.9 < endings["half a body"].seconds < LATE


def test_eight_silent_connections_block_all_others(endings: dict[str, Ending]) -> None:
    assert endings["behind eight"].data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert 2.5 < endings["behind eight"].seconds < LATE


def test_sigint_waits_for_an_idle_connection(endings: dict[str, Ending]) -> None:
    assert endings["sigint"].data == b"0"
    assert 4.9 < endings["sigint"].seconds < LATE
