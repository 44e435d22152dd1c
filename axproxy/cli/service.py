"""The running service, for commands that ask it over HTTP as any client does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from axproxy.preflight.unit_settings import UnitSettings, read_unit_settings
from axproxy.printable import printable
from axproxy.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
_CONNECT = 5.0  # seconds; the service accepts at once, or is not there


class CommandFailed(Exception):
    """What was asked for did not happen, in one sentence."""


class NotRunning(CommandFailed):
    """No service answers at the address of the settings."""


def settings_by_hand(
    program: Path = ROOT, root: Path = Path("/")
) -> tuple[Settings, UnitSettings | None]:
    """Return the settings of the service whose program is in this folder, seen from a shell.

    Those of an installed service come from its unit, and the shell's own win.  Raises
    `SettingsError`.
    """
    unit = read_unit_settings(program, root)
    return Settings.from_env(environment_by_hand(unit)), unit


def environment_by_hand(unit: UnitSettings | None) -> Mapping[str, str]:
    """Return the environment of the service as far as this shell can know it."""
    return unit.environment(os.environ) if unit else os.environ


class ServiceClient:
    """The HTTP side of a command.  Every method raises `NotRunning` or `CommandFailed`."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.own_url
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy for the loopback
        if settings.api_key:
            self._session.headers["Authorization"] = f"Bearer {settings.api_key}"

    @property
    def url(self) -> str:
        return self._url

    def get(self, path: str) -> dict[str, Any]:
        with self._asked("GET", path, None, timeout=30.0) as response:
            return _body(response)

    def call(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        with self._asked(method, path, body, timeout=600.0) as response:
            return _body(response)

    def lines(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the objects of an NDJSON stream; a line with an error raises `CommandFailed`.

        Closing the iterator closes the connection, which ends the answer.
        """
        # No limit between two pieces: signs of life come, but a prompt may take minutes to read.
        with self._asked("POST", path, body, timeout=None) as response:
            try:
                for line in response.iter_lines(chunk_size=1):
                    if line.strip():
                        piece = json.loads(line)
                        if "error" in piece:
                            raise CommandFailed(printable(str(piece["error"])))
                        yield piece
            except requests.RequestException as error:
                raise CommandFailed("the service closed the connection before the end") from error

    @contextmanager
    def _asked(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float | None
    ) -> Iterator[requests.Response]:
        try:
            response = self._session.request(
                method, self._url + path, json=body, timeout=(_CONNECT, timeout), stream=True
            )
        except requests.ConnectionError as error:
            raise NotRunning(f"no service answers at {self._url}; {_start_it()}") from error
        except requests.RequestException as error:
            raise CommandFailed(f"{self._url} did not answer in time; try again") from error
        with response:
            if response.status_code >= 400:
                raise CommandFailed(_problem(response))
            yield response


def _body(response: requests.Response) -> dict[str, Any]:
    if not response.content:
        return {}
    try:
        body = response.json()
    except ValueError as error:
        raise CommandFailed(f"{response.url} is not this service; check AX650_PORT") from error
    return body if isinstance(body, dict) else {}


def _problem(response: requests.Response) -> str:
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"{response.url} answered with status {response.status_code}; check AX650_PORT"
    sentence = printable(str(error["message"] if isinstance(error, dict) else error))
    if response.status_code == 401:
        return f"{sentence}; set AX650_API_KEY to the service's key, or use sudo"
    return sentence


def _start_it() -> str:
    if (ROOT / "install.sh").is_file() and Path("/etc/systemd/system/ax650.service").is_file():
        return "start it with: sudo systemctl start ax650"
    return "start it with serve, or set AX650_PORT to its port"
