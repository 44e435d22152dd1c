"""The simulator as a process, and raw HTTP, for the simulator's tests."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.mock.byte_tokenizer import ByteTokenizer

ROOT = Path(__file__).parents[2]
DEADLINE = 60.0  # seconds; long, because other programs use the machine
POST_CONFIG = {
    "enable_temperature": False,
    "temperature": 0.9,
    "enable_repetition_penalty": False,
    "repetition_penalty": 1.2,
    "penalty_window": 20,
    "enable_top_p_sampling": False,
    "top_p": 0.8,
    "enable_top_k_sampling": True,
    "top_k": 1,
}
SMALL_MODEL = "--axmodel_num 4 --prefill-chunk 128 --prefill-limit 896 --context 1023".split()
FAST = "--load-seconds 0 --prefill-tokens-per-second 0".split()


def eventually(condition: Callable[[], Any], what: str = "condition") -> Any:
    """Wait until `condition` returns something true, and return it."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.003)
    raise AssertionError(f"{what} did not come true")


@dataclass
class Output:
    """Everything a child has written so far, collected by a thread."""

    descriptor: int
    data: bytearray = field(default_factory=bytearray)

    def collect(self) -> None:
        try:
            while piece := os.read(self.descriptor, 65536):
                self.data += piece
        except OSError:
            pass  # a terminal whose other side is closed
        os.close(self.descriptor)

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")

    def shows(self, text: str, times: int = 1) -> bool:
        """Wait until `text` has appeared `times` times; the collecting thread may lag behind."""
        return bool(eventually(lambda: self.text.count(text) >= times, f"{times} x {text!r}"))


class Runtime:
    """The simulator as a process."""

    def __init__(
        self,
        cwd: Path,
        arguments: list[str],
        tokenizer: ByteTokenizer | None = None,
        *,
        on_terminal: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._due = {"/encode": 0, "/reset": 0}  # calls that accepted jobs begin with
        command = [sys.executable, str(ROOT / "mock_main_api.py"), "--port", "0", *arguments]
        reader, writer = pty.openpty() if on_terminal else os.pipe()
        self.process = subprocess.Popen(
            command, cwd=cwd, stdout=writer, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        os.close(writer)
        self.output = Output(reader)
        assert self.process.stderr is not None
        self.errors = Output(os.dup(self.process.stderr.fileno()))
        self.process.stderr.close()
        self.threads = [threading.Thread(target=o.collect) for o in (self.output, self.errors)]
        for thread in self.threads:
            thread.start()
        self.port = 0

    def ready(self) -> Runtime:
        """Wait until the port is open."""
        pattern = re.compile(r"Server running on port (\d+)\.\.\.")
        found = eventually(
            lambda: pattern.search(self.output.text) or self.process.poll() is not None, "start-up"
        )
        assert found is not True, (self.process.returncode, self.output.text, self.errors.text)
        self.port = int(found[1])
        return self

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def exit_status(self) -> int:
        """Wait for the end and return the status, negative for a signal; all output is there."""
        status = self.process.wait(DEADLINE)
        for thread in self.threads:
            thread.join(DEADLINE)
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.exit_status()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), DEADLINE)

    def exchange(self, raw: bytes) -> bytes:
        """Send bytes and read until the server closes."""
        with self.connect() as connection:
            connection.sendall(raw)
            return read_to_end(connection)

    def call(self, method: str, path: str, body: str | None = None) -> bytes:
        """Send one request on its own connection and return the raw response."""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        if body is None:
            return self.exchange(f"{head}\r\n".encode())
        raw = body.encode()
        head += f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
        return self.exchange(head.encode() + raw)

    def json(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send one request and return the status and the decoded body."""
        first = {"/api/generate": "/encode", "/api/reset": "/reset"}.get(path, "")
        before = self._calls(first)
        raw = self.call(method, path, None if body is None else json.dumps(body))
        head, _, text = raw.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        if first and status == 200:
            self._due[first] = max(self._due[first], before) + 1
        return status, json.loads(text) if text else None

    def _calls(self, path: str) -> int:
        return len(self._tokenizer.requests(path)) if self._tokenizer else 0

    def _begun(self) -> bool:
        """Whether all accepted jobs have begun; until then the runtime reports that it is idle."""
        return not self._tokenizer or all(self._calls(p) >= n for p, n in self._due.items())

    def poll(self) -> tuple[bool, str]:
        _, answer = self.json("GET", "/api/generate_provider")
        return answer["done"], answer["response"]

    def idle(self) -> bool:
        """Whether nothing runs; the question takes no text away."""
        _, answer = self.json("POST", "/api/chat", {"messages": []})
        return bool(answer == {"error": "Invalid message format"})

    def generate(self, prompt: str, **more: Any) -> None:
        """Start an answer."""
        status, answer = self.json("POST", "/api/generate", {"prompt": prompt, **more})
        assert (status, answer) == (200, {"status": "ok"})

    def reset(self, system_prompt: str = "") -> None:
        """Reset and wait for it."""
        body = {"system_prompt": system_prompt} if system_prompt else {}
        eventually(lambda: self.json("POST", "/api/reset", body)[0] == 200, "reset accepted")
        self.settle()

    def settle(self) -> str:
        """Poll until all accepted jobs have begun and it stays idle; return the text."""
        texts, idle = [], 0

        def quiet() -> bool:
            nonlocal idle
            begun = self._begun()
            done, text = self.poll()
            texts.append(text)
            idle = idle + 1 if begun and done and not text else 0
            time.sleep(0.005)
            return idle >= 5

        eventually(quiet, "idle")
        return "".join(texts)

    def answer(self, prompt: str, **more: Any) -> str:
        """Generate, and return the whole text."""
        self.generate(prompt, **more)
        return self.settle()


def read_to_end(connection: socket.socket) -> bytes:
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


def wait_readable(connection: socket.socket, seconds: float) -> bool:
    return bool(select.select([connection], [], [], seconds)[0])


@pytest.fixture
def tokenizer() -> Iterator[ByteTokenizer]:
    server = ByteTokenizer()
    yield server
    server.close()


Start = Callable[..., Runtime]


def runtime_in(
    folder: Path,
    tokenizer: ByteTokenizer,
    *flags: str,
    ready: bool = True,
    on_terminal: bool = False,
) -> Runtime:
    """Start a small, fast simulator in `folder`; of equal flags the last wins."""
    url = ["--url_tokenizer_model", tokenizer.url]
    arguments = [*url, *SMALL_MODEL, *FAST, "--tokens-per-second", "1000", *flags]
    runtime = Runtime(folder, arguments, tokenizer, on_terminal=on_terminal)
    return runtime.ready() if ready else runtime


@pytest.fixture
def start(tmp_path: Path, tokenizer: ByteTokenizer) -> Iterator[Start]:
    """Return a function that starts simulators."""
    (tmp_path / "post_config.json").write_text(json.dumps(POST_CONFIG))
    runtimes: list[Runtime] = []

    def begin(*flags: str, **how: bool) -> Runtime:
        wait = how.pop("ready", True)
        runtimes.append(runtime_in(tmp_path, tokenizer, *flags, ready=False, **how))
        return runtimes[-1].ready() if wait else runtimes[-1]

    yield begin
    for runtime in runtimes:
        runtime.close()
