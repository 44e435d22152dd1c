"""Faults of the tokenizer, against the whole service."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from axproxy.tokenizer.client import TokenizerClient
from tests.support.asking import PREFACE, Asked
from tests.support.ports import own_port
from tests.support.service import QUICK_MOCK, ROOT, Service, Start
from tests.support.waiting import eventually
from tests.system.faults.conftest import Whole

pytestmark = pytest.mark.integration

LONG = "all of this again " * 40


def tokenizer_of(service: Service) -> dict[str, Any]:
    state: dict[str, Any] = service.health()["tokenizer"]
    return state


def test_a_tokenizer_killed_while_idle_delays_the_next_client_for_a_moment(
    start: Start, whole_again: Whole
) -> None:
    service = start()
    tokenizer, runtime = service.pids()
    os.kill(tokenizer, signal.SIGKILL)
    began = time.monotonic()

    assert Asked(service, "Are you there?").answered_whole()
    whole_again(service, began)
    assert service.pids()[0] != tokenizer
    assert service.pids()[1] == runtime  # it made no call meanwhile
    assert "SIGKILL" in tokenizer_of(service)["last_exit"]


def test_a_tokenizer_killed_in_mid_answer_never_passes_half_an_answer_off_as_complete(
    start: Start, whole_again: Whole
) -> None:
    service = start()
    asked = Asked(service, LONG)
    eventually(lambda: asked.text)
    queued = Asked(service, "I wait.")
    os.kill(service.pids()[0], signal.SIGKILL)
    began = time.monotonic()
    asked.ended()

    # The runtime crashes if it makes a call before the next tokenizer is there.
    assert asked.answered_whole() or (asked.error and not asked.complete)
    assert (PREFACE + LONG).startswith(asked.text)
    assert queued.answered_whole()
    whole_again(service, began)


def test_a_tokenizer_that_hangs_is_replaced_and_the_client_waits_for_it(
    start: Start, whole_again: Whole
) -> None:
    service = start()
    tokenizer, runtime = service.pids()
    os.kill(tokenizer, signal.SIGSTOP)
    began = time.monotonic()
    several = [Asked(service, f"This is number {number}.") for number in range(2)]

    assert service.health()["status"] == "ok"  # not detected yet
    assert all(asked.answered_whole() for asked in several)
    whole_again(service, began)
    assert service.pids()[0] != tokenizer
    assert service.pids()[1] == runtime


def test_a_slow_tokenizer_only_makes_answers_slow(start: Start) -> None:
    service = start()
    before = service.pids()
    asked = Asked(service, "Say a lot. " * 5)
    while asked.status is None or not (asked.complete or asked.error):
        for number, seconds in ((signal.SIGSTOP, 0.3), (signal.SIGCONT, 0.05)):
            os.kill(before[0], number)
            asked.wait(seconds)

    assert asked.answered_whole()
    assert service.pids() == before


def test_another_program_on_a_dead_tokenizers_port_is_named_and_never_used(
    start: Start, whole_again: Whole
) -> None:
    service = start()
    tokenizer, runtime = service.pids()
    with FaultyTokenizer(own_port(), target=None) as stranger:
        os.kill(tokenizer, signal.SIGSTOP)  # it cannot answer, which is not noticed for a moment
        os.kill(tokenizer, signal.SIGKILL)
        stranger.take(service.tokenizer_port)
        eventually(lambda: "is held by" in str(tokenizer_of(service)["note"]))
        assert str(os.getpid()) in str(tokenizer_of(service)["note"])
        waited = Asked(service, "Hello?").ended()  # at first it may go away by itself
        assert "is held by" in str(waited.error)
        refused = Asked(service, "Hello?").ended()
        assert refused.status == 503
        assert "is held by" in str(refused.error)
        assert service.health()["runtime"]["state"] == "ready"
    began = time.monotonic()

    whole_again(service, began)
    assert service.pids()[1] == runtime


# --- wrong answers


class FaultyTokenizer:
    """A program in front of the tokenizer, or in its place, that sends the replies in `wrong`."""

    def __init__(self, port: int, target: int | None) -> None:
        self.wrong: dict[str, tuple[int, bytes]] = {}
        self.port = port
        self._target = target
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> FaultyTokenizer:
        if self._target:
            self.take(self.port)
        return self

    def __exit__(self, *_: object) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()

    def take(self, port: int) -> None:
        faulty = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                status, body = faulty.answer(self.command, self.path, self.rfile.read(length))
                self.send_response_only(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        def bound() -> ThreadingHTTPServer | None:
            with contextlib.suppress(OSError):
                return ThreadingHTTPServer(("127.0.0.1", port), Handler)
            return None

        self._server = eventually(bound)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Return the wrong reply for `path`, or else the tokenizer's."""
        for beginning, reply in self.wrong.items():
            if path.startswith(beginning):
                return reply
        if self._target is None:
            return 200, b'{"error": "I am another program"}'
        with requests.Session() as http:
            http.trust_env = False
            url = f"http://127.0.0.1:{self._target}{path}"
            response = http.request(method, url, data=body, timeout=60)
            return response.status_code, response.content


@pytest.fixture
def faulty_pair(start_service: Start, tmp_path: Path) -> Iterator[tuple[Service, FaultyTokenizer]]:
    """A service attached to running programs, with a faulty tokenizer in front of the real one."""
    tokenizer, runtime = own_port(), own_port()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((tmp_path / "programs").open("w"))
        faulty = stack.enter_context(FaultyTokenizer(own_port(), target=tokenizer))

        def run(*words: str) -> None:
            command = [sys.executable, *words]
            program = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
            stack.callback(program.wait)
            stack.callback(program.kill)

        run("-m", "axproxy.tokenizer", "--port", str(tokenizer))
        eventually(TokenizerClient(f"http://127.0.0.1:{tokenizer}").answers)
        url = f"http://127.0.0.1:{faulty.port}"
        mock = [*QUICK_MOCK.split(), "--port", str(runtime), "--url_tokenizer_model", url]
        run("mock_main_api.py", *mock)
        service = start_service(
            AX650_RUNTIME="attach",
            AX650_RUNTIME_PORT=str(runtime),
            AX650_TOKENIZER_PORT=str(faulty.port),
            AX650_CONTEXT_LENGTH="2559",
            AX650_PREFILL_LIMIT="2048",
            AX650_STALL_TIMEOUT="5",
        )
        stack.callback(service.stop)
        yield service, faulty


@pytest.mark.parametrize("status", [404, 500])
def test_a_prompt_that_the_tokenizer_refuses_never_gets_another_prompts_answer(
    faulty_pair: tuple[Service, FaultyTokenizer], status: int
) -> None:
    service, faulty = faulty_pair
    assert Asked(service, "My PIN is 4711.").answered_whole()
    faulty.wrong["/encode"] = (status, b"{}")  # the runtime then runs the last prompt once more
    asked = Asked(service, "Hello?").ended()

    assert "4711" not in asked.text
    assert asked.error
    assert not asked.complete
    faulty.wrong.clear()
    assert Asked(service, "Hello again?").answered_whole()


def test_text_that_the_tokenizer_loses_is_an_error_and_not_a_gap(
    faulty_pair: tuple[Service, FaultyTokenizer],
) -> None:
    service, faulty = faulty_pair
    faulty.wrong["/decode"] = (200, json.dumps({"text": 1}).encode())
    asked = Asked(service, "Hi", num_predict=3).ended()

    assert asked.text in ("", PREFACE[: len(asked.text)])
    assert asked.error
    assert not asked.complete
    faulty.wrong.clear()
    eventually(lambda: Asked(service, "Hello again?").answered_whole())


@pytest.mark.parametrize("path", ["/trace", "/count"])
def test_invalid_replies_of_the_tokenizer_lose_no_text(
    faulty_pair: tuple[Service, FaultyTokenizer], path: str
) -> None:
    service, faulty = faulty_pair
    faulty.wrong[path] = (200, b"[\xff")
    asked = Asked(service, "Hello?", num_predict=500)
    if path == "/trace":
        assert asked.answered_whole()
    else:
        eventually(lambda: service.health()["queue"]["answering"])
        faulty.wrong.clear()  # it waits until the tokenizer answers properly again
        assert asked.answered_whole()
