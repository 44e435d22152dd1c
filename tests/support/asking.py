"""Requests in threads of their own, while a test does something to the service."""

from __future__ import annotations

import json
import threading
from typing import Any

import requests

from tests.support.service import Service

PREFACE = "I am a simulated model, no card is involved. You said: "


class Asked:
    """One streaming `POST /api/generate`; what has come can be read at any time."""

    def __init__(self, service: Service, prompt: str, **options: object) -> None:
        self.prompt = prompt
        self.status: int | None = None
        self.retry_after: str | None = None
        self.lines: list[dict[str, Any]] = []
        self.cut = False  # the connection closed before the end of the answer
        self._body = {"model": "mock", "prompt": prompt, "think": False, "options": options}
        self._service = service
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        return "".join(line.get("response", "") for line in list(self.lines))

    @property
    def error(self) -> str | None:
        """The error that ended the answer, or was all of it."""
        return self.lines[-1].get("error") if self.lines else None

    @property
    def complete(self) -> bool:
        """Whether it claims to be the whole answer."""
        return any(line.get("done") for line in self.lines)

    def wait(self, seconds: float) -> None:
        """Wait for the end, at most `seconds`."""
        self._thread.join(seconds)

    def ended(self, seconds: float = 120.0) -> Asked:
        """Wait for the end and return itself."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"no end within {seconds} s of {self.prompt!r}"
        return self

    def answered_whole(self) -> bool:
        """Whether it ended with every word of its own prompt and nothing else."""
        return self.ended().complete and self.text == PREFACE + self.prompt

    def _ask(self) -> None:
        # A session of its own, because threads cannot share one safely.
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
