"""The whole service as a user starts it: `python backend.py`, the simulator, free ports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.support.ports import own_port
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
QUICK_MOCK = "--load-seconds 0.2 --tokens-per-second 300"

HTTP = requests.Session()
HTTP.trust_env = False


class Service:
    """A running service; `stop` ends it."""

    def __init__(
        self,
        environ: dict[str, str],
        log: Path,
        command: list[str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.port = own_port()
        self.runtime_port = own_port()
        self.tokenizer_port = own_port()
        self.base = f"http://127.0.0.1:{self.port}"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AX650_", "OLLAMA_"))}
        ports = {
            "AX650_PORT": str(self.port),
            "AX650_RUNTIME_PORT": str(self.runtime_port),
            "AX650_TOKENIZER_PORT": str(self.tokenizer_port),
        }
        settings = {"AX650_MOCK_ARGS": QUICK_MOCK, **ports, **environ}
        self.environ = {**inherited, **settings}
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command or [sys.executable, str(ROOT / "backend.py")],
                env=self.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder or log.parent,
                process_group=0,
            )

    def get(self, path: str, **how: Any) -> requests.Response:
        return HTTP.get(self.base + path, timeout=120, **how)

    def post(self, path: str, body: Any, **how: Any) -> requests.Response:
        return HTTP.post(self.base + path, json=body, timeout=120, **how)

    def health(self) -> dict[str, Any]:
        body: dict[str, Any] = self.get("/health").json()
        return body

    def listening(self) -> bool:
        try:
            return self.get("/health").status_code == 200
        except requests.ConnectionError:
            assert self.process.poll() is None, self.log.read_text()
            return False

    def ready(self) -> bool:
        return self.listening() and self.get("/ready").status_code == 200

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def pids(self) -> tuple[int, int]:
        """Return the pids of the tokenizer and the runtime."""
        health = self.health()
        return health["tokenizer"]["pid"], health["runtime"]["pid"]

    def begin_to_stop(self) -> None:
        """Tell the service to stop; `stop` waits until it has."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        family = self.family() if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(120)
        eventually(lambda: not [process for process in family if process.is_running()])
        return status


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself, with no settings but those given."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AX650_")}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**clean, **environ},
        cwd="/",
        check=False,
        timeout=120,
    )


Start = Callable[..., Service]
