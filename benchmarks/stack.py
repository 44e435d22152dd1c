"""Runs the whole service with a simulated card on free ports while it is measured."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from axproxy.tokenizer.client import TokenizerClient
from tests.support.service import ROOT, Service
from tests.support.waiting import eventually

# SIGHUP comes when the terminal is closed.
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECRET = "benchmark"  # noqa: S105 - it protects nothing
START_DEADLINE = 60.0  # seconds; a slow machine needs ten


@dataclass(frozen=True)
class Started:
    """Seconds from the start of `python backend.py`."""

    listening: float
    ready: float


@dataclass(frozen=True)
class Processes:
    """The service's processes; the first two are the service itself."""

    master: psutil.Process
    worker: psutil.Process
    tokenizer: psutil.Process
    mock: psutil.Process


class Stack:
    """A running service; every answer is the text in its reply file.

    `tokens_per_second` and `prefill` are the simulated card's speeds; 0 means as fast as possible.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tokens_per_second: int,
        prefill: int = 0,
        context: int = 2559,
        prefill_limit: int = 2048,
        max_queue: int = 64,
    ) -> None:
        self._reply_file = folder / "reply.txt"
        self._reply_file.write_text("Yes.")
        mock = (
            f"--load-seconds 0 --tokens-per-second {tokens_per_second}"
            f" --prefill-tokens-per-second {prefill} --context {context}"
            f" --prefill-limit {prefill_limit} --reply-file '{self._reply_file}'"
        )
        settings = {
            "AX650_RUNTIME": "mock",
            "AX650_MOCK_ARGS": mock,
            "AX650_MAX_QUEUE": str(max_queue),
            "AX650_TOKENIZER_SECRET": _SECRET,
        }
        before = time.monotonic()
        self.service = Service(settings, folder / f"service-{time.monotonic_ns()}.log")
        try:
            eventually(self.service.listening, START_DEADLINE)
            listening = time.monotonic() - before
            eventually(self.service.ready, START_DEADLINE)
            self.started = Started(listening, time.monotonic() - before)
            url = f"http://127.0.0.1:{self.service.tokenizer_port}"
            self.tokenizer = TokenizerClient(url, secret=_SECRET)
            self.processes = self._found()
        except BaseException:
            self.stop()
            raise

    @property
    def port(self) -> int:
        return self.service.port

    @property
    def runtime_port(self) -> int:
        return self.service.runtime_port

    def text_of(self, tokens: int, offset: int = 0) -> str:
        """Return a text of exactly `tokens` tokens; a different text for each offset."""
        words = _WORDS[offset % len(_WORDS) :] + _WORDS
        text = " ".join(words * (tokens // len(_WORDS) + 2))
        ids = self.tokenizer.tokenize(text)[:tokens]
        return self.tokenizer.detokenize(ids)

    def will_answer(self, text: str) -> None:
        """Set the text of the next answers."""
        self._reply_file.write_text(text)

    def idle(self) -> None:
        """Wait until no request is being answered and none waits."""
        eventually(self._is_idle, START_DEADLINE)

    def _is_idle(self) -> bool:
        queue = self.service.health()["queue"]
        return not queue["answering"] and not queue["waiting"]

    def stop(self) -> None:
        """Stop every process and wait for it; signals take effect after that."""
        with signals_deferred():
            family = _family(self.service.process.pid)
            try:
                self.service.stop()
            except (subprocess.TimeoutExpired, AssertionError):
                for process in family:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                raise

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _found(self) -> Processes:
        tokenizer, mock = (psutil.Process(pid) for pid in self.service.pids())
        worker = mock.parent()
        if worker is None:
            raise psutil.NoSuchProcess(mock.pid)
        master = psutil.Process(self.service.process.pid)
        return Processes(master, worker, tokenizer, mock)


@contextlib.contextmanager
def lone_tokenizer(folder: Path) -> Iterator[tuple[psutil.Process, int, float]]:
    """Run a tokenizer process alone; yield the process, its port and its start-up seconds."""
    command = [sys.executable, "-m", "axproxy.tokenizer", "--port", "0"]
    before = time.monotonic()
    with subprocess.Popen(
        [*command, "--folder", str(folder), "--log-level", "error"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            ready = time.monotonic() - before
            yield psutil.Process(process.pid), int(line.rpartition(":")[2]), ready
        finally:
            process.terminate()


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Defer the `END_SIGNALS`; the first of them takes effect at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda received_now, _: received.append(received_now))
        for number in END_SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])


def _family(pid: int) -> Sequence[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


_WORDS = (  # noqa: SIM905 - words are easier to read than a list
    "the sun rises over a small house near the river and people walk to work while children "
    "play in the garden under old trees before school begins on a cold day"
).split()
