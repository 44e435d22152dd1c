"""The service as somebody beside it sees it: whether it runs, and what it says of itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from axproxy.preflight.finding import Finding
from axproxy.process import ports
from axproxy.process.instance_lock import is_held
from axproxy.settings import Settings


@dataclass(frozen=True)
class RunningService:
    """`health` is the body of its `GET /health`, `None` when that is not answered at `url`."""

    url: str
    health: dict[str, Any] | None

    @property
    def loading(self) -> bool:
        """Whether it loads a model at this moment, or might: then nobody may ask the card."""
        if self.health is None:
            return True
        state: str = self.health["runtime"]["state"]
        return state in ("starting", "stopping")

    def pid(self) -> int | None:
        """The process that has started the two programs."""
        for child in ("tokenizer", "runtime"):
            try:
                if self.health and (pid := self.health[child]["pid"]):
                    return psutil.Process(pid).ppid()
            except psutil.Error:
                continue
        return None

    def said_as_another_user(self) -> dict[str, Finding]:
        """Its own findings by name, if it runs as somebody else than we do."""
        try:
            pid = self.pid()
            if self.health is None or pid is None or psutil.Process(pid).uids()[1] == os.geteuid():
                return {}
        except psutil.Error:
            return {}
        return {entry["name"]: Finding(**entry) for entry in self.health["preflight"]}

    def program(self) -> Path | None:
        """The file of the runtime that it has started, where we may see that."""
        try:
            pid = self.health and self.health["runtime"]["pid"]
            return Path(psutil.Process(pid).exe()) if pid else None
        except psutil.Error:
            return None

    def other_holders(self, port: int, pid: int | None) -> list[ports.PortHolder]:
        """Listeners that are not its own; what another user holds must be taken for its own."""
        if self.health is None:
            return []
        return [holder for holder in ports.strangers(port, pid) if holder.pid is not None]

    def describe(self) -> str:
        if self.health is None:
            return (
                f"the service runs, but does not answer at {self.url}; "
                "set AX650_PORT here as it is set there"
            )
        note = self.health["runtime"]["note"] or self.health["tokenizer"]["note"]
        says = f"; it says: {note}" if note else ""
        kind, status = self.health["backend_type"], self.health["status"]
        return f"the service runs at {self.url}: {status}, {kind}{says}"


def find_service(settings: Settings, root: Path = Path("/")) -> RunningService | None:
    """Asks nothing that would disturb it."""
    health = _health(settings.own_url)
    if health is None and not is_held(settings.runtime_port, root):
        return None
    return RunningService(settings.own_url, health)


def _health(url: str) -> dict[str, Any] | None:
    with requests.Session() as session:
        session.trust_env = False
        try:
            body = session.get(f"{url}/health", timeout=5.0).json()
        except (requests.RequestException, ValueError):
            return None
    is_ours = isinstance(body, dict) and {"backend_type", "runtime", "tokenizer"} <= body.keys()
    return body if is_ours else None
