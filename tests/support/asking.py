"""Requests that wait in a thread of their own while a test does something to the service."""

from __future__ import annotations

import json
import threading
from typing import Any

import requests

from tests.support.service import Service

PREFACE = "I am a simulated model, no card is involved. You said: "


class Asked:
    """One streaming `POST /api/generate`; what has come of it can be read at any time."""

    def __init__(self, service: Service, prompt: str, **options: object) -> None:
        self.prompt = prompt
        self.status: int | None = None
        self.retry_after: str | None = None
        self.lines: list[dict[str, Any]] = []
        self.cut = False  # the connection ended without an end of the answer
        self._body = {"model": "mock", "prompt": prompt, "options": options}
        self._service = service
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        return "".join(line.get("response", "") for line in list(self.lines))

    @property
    def error(self) -> str | None:
        """The error that ended it, or was the whole answer."""
        return self.lines[-1].get("error") if self.lines else None

    @property
    def complete(self) -> bool:
        """It says of itself that it is the whole answer."""
        return any(line.get("done") for line in self.lines)

    def wait(self, seconds: float) -> None:
        """Until it is over, at most so long."""
        self._thread.join(seconds)

    def ended(self, seconds: float = 120.0) -> Asked:
        """Itself, once it is over."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"no end within {seconds} s of {self.prompt!r}"
        return self

    def answered_whole(self) -> bool:
        """Every word of its own prompt and nothing else."""
        return self.ended().complete and self.text == PREFACE + self.prompt

    def _ask(self) -> None:
        # A session of its own: they are not safe to share between threads.
        with requests.Session() as http:
            http.trust_env = False
            url = f"{self._service.base}/api/generate"
            try:
                with http.post(url, json=self._body, stream=True, timeout=120) as reply:
                    self.status = reply.status_code
                    self.retry_after = reply.headers.get("Retry-After")
                    for line in reply.iter_lines():
                        self.lines.append(json.loads(line))
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                self.cut = True
