"""Other programs and web pages at the private ports, against the whole service."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.asking import Asked
from tests.support.ports import own_port
from tests.support.service import QUICK_MOCK, ROOT, Service, Start
from tests.support.waiting import eventually
from tests.tokenizer.tokenizer_calls import Caller

pytestmark = pytest.mark.integration

TIMES = 10
# Long enough that its answer is not over before it is disturbed, on a busy machine either.
LONG = "all of this again " * 150
SHORTER = "all of this again " * 20  # where the answer goes on to its end
SECRET = "a secret of this test"  # noqa: S105 - it protects nothing


def running(service: Service, number: int = 0, words: str = LONG) -> Asked:
    """Return an answer that has begun and is far from its end; each prompt is another one."""
    asked = Asked(service, f"{number}: {words}")
    eventually(lambda: asked.text or asked.error)
    return asked


REFUSED: list[tuple[str, str, Any, dict[str, str]]] = [
    ("POST", "/encode", {"text": "evil"}, {"Origin": "https://evil.example"}),
    ("POST", "/decode", {"token_ids": [40, 1]}, {"Sec-Fetch-Site": "cross-site"}),
    ("POST", "/encode", {"text": "evil"}, {}),
    ("POST", "/decode", {"token_ids": [40, 1, 2]}, {}),
    ("POST", "/reset", {}, {}),
    ("GET", "/trace", None, {}),
    ("GET", "/trace", None, {"Host": "evil.example"}),
    ("GET", "/", None, {"Host": "evil.example"}),
    ("GET", "/get_uid", None, {}),
]


def test_no_page_and_no_other_program_gets_through_to_the_tokenizer(start: Start) -> None:
    service = start()
    eventually(service.ready)
    call = Caller(service.tokenizer_port)
    asked = running(service)
    for refused in REFUSED:
        assert [call(*refused)[0] for _ in range(TIMES)] == [403] * TIMES
    assert not asked.complete  # all of them came while it was being written
    assert asked.answered_whole()


def test_the_tokenizers_secret_is_on_no_command_line_in_no_log_and_not_in_health(
    start: Start,
) -> None:
    service = start(AX650_TOKENIZER_SECRET=SECRET, AX650_LOG_LEVEL="debug")
    eventually(service.ready)
    assert Asked(service, "Hello?").answered_whole()
    lines = [word for process in service.family() for word in process.cmdline()]
    assert SECRET not in "\n".join([*lines, service.log.read_text(), service.get("/health").text])
    assert SECRET not in psutil.Process(service.pids()[1]).environ().values()


def test_an_answer_that_another_program_stops_is_never_whole(start: Start) -> None:
    service = start()
    eventually(service.ready)
    for number in range(TIMES):
        asked = running(service, number)
        stop = HTTPConnection("127.0.0.1", service.runtime_port, timeout=60)
        with contextlib.closing(stop):
            stop.request("GET", "/api/stop", headers={"Connection": "close"})
            assert stop.getresponse().status == 200
        asked.ended()
        assert not asked.complete
        assert "another program has stopped this answer" in (asked.error or "")
    assert Asked(service, "And now?").answered_whole()


@pytest.fixture
def attached(start_service: Start, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start a service that uses programs which were started by hand."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((tmp_path / "programs").open("w"))

        def run(*words: str, **environ: str) -> None:
            program = subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env={**os.environ, **environ},
                stdout=log,
                stderr=log,
            )
            stack.callback(program.wait)
            stack.callback(program.kill)

        def begin(theirs: str = "", ours: str = "") -> Service:
            tokenizer, runtime = own_port(), own_port()
            run("-m", "axproxy.tokenizer", "--port", str(tokenizer), AX650_TOKENIZER_SECRET=theirs)
            url = f"http://127.0.0.1:{tokenizer}"
            mock = [*QUICK_MOCK.split(), "--tokens-per-second", "100", "--port", str(runtime)]
            run("mock_main_api.py", *mock, "--url_tokenizer_model", url)
            service = start_service(
                AX650_RUNTIME="attach",
                AX650_RUNTIME_PORT=str(runtime),
                AX650_TOKENIZER_PORT=str(tokenizer),
                AX650_CONTEXT_LENGTH="2559",
                AX650_PREFILL_LIMIT="2048",
                AX650_TOKENIZER_SECRET=ours,
                wait=False,
            )
            stack.callback(service.stop)
            service.tokenizer_port = tokenizer
            eventually(service.ready if theirs == ours else service.listening)
            return service

        yield begin


def so_far(port: int) -> list[int]:
    return [id_ for id_, _ in Caller(port).get("/trace")["tokens"]]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/encode", lambda _: {"text": "evil"}),
        ("/decode", lambda port: {"token_ids": so_far(port)}),
        ("/decode", lambda port: {"token_ids": so_far(port)[:4]}),
        ("/decode", lambda _: {"token_ids": [40, 41, 42]}),
        ("/reset", lambda _: {}),
    ],
    ids=["encode", "decode what is there", "decode the first ids", "decode others", "reset"],
)
def test_what_a_program_of_the_same_user_does_to_a_run_is_an_error_and_never_a_whole_answer(
    attached: Callable[..., Service], path: str, body: Callable[[int], object]
) -> None:
    service = attached()
    for number in range(TIMES):
        asked = running(service, number, SHORTER)
        eventually(lambda: len(so_far(service.tokenizer_port)) > 4)
        Caller(service.tokenizer_port).post(path, body(service.tokenizer_port))
        asked.ended()
        assert not asked.complete
        assert "another program" in (asked.error or "")
    assert Asked(service, "And now?").answered_whole()


def test_programs_started_by_hand_share_a_secret(attached: Callable[..., Service]) -> None:
    service = attached(theirs=SECRET, ours=SECRET)
    assert Asked(service, "Hello?").answered_whole()
    assert Caller(service.tokenizer_port)("GET", "/trace")[0] == 403


def test_a_service_without_the_tokenizers_secret_says_what_to_do(
    attached: Callable[..., Service],
) -> None:
    service = attached(theirs=SECRET)
    eventually(lambda: "AX650_TOKENIZER_SECRET" in service.get("/ready").text)
    assert "AX650_TOKENIZER_SECRET" in (Asked(service, "Hello?").ended().error or "")
