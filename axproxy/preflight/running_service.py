"""The running service, seen from another process: whether it runs, and its `/health`."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from axproxy.preflight.finding import Finding
from axproxy.process import ports
from axproxy.process.instance_lock import is_held
from axproxy.settings import Settings

_WITH_PROCESS = ("starting", "ready", "stopping")


@dataclass(frozen=True)
class RunningService:
    """The service; `health` is the body of `GET /health`, `None` if `url` does not answer it."""

    url: str
    health: dict[str, Any] | None

    @property
    def loading(self) -> bool:
        """Whether it is or may be loading a model; `axcl-smi` must not be called meanwhile."""
        if self.health is None:
            return True
        state: str = self.health["runtime"]["state"]
        return state in ("starting", "stopping")

    def pid(self) -> int | None:
        """Return the process that started the two programs, `None` if it cannot be found."""
        for child in ("tokenizer", "runtime"):
            try:
                # axllm has no tokenizer beside it, and without a model there is no program at all.
                if pid := ((self.health or {}).get(child) or {}).get("pid"):
                    return psutil.Process(pid).ppid()
            except psutil.Error:
                continue
        return None

    def findings_of_another_user(self) -> dict[str, Finding]:
        """Return the service's own findings by name if it runs as another user, else nothing."""
        try:
            pid = self.pid()
            if self.health is None or pid is None or psutil.Process(pid).uids()[1] == os.geteuid():
                return {}
        except psutil.Error:
            return {}
        return {entry["name"]: Finding(**entry) for entry in self.health["preflight"]}

    def program(self) -> Path | None:
        """Return the file of the runtime that it has started, where this user can see it."""
        try:
            pid = self.health and self.health["runtime"]["pid"]
            return Path(psutil.Process(pid).exe()) if pid else None
        except psutil.Error:
            return None

    def other_holders(self, port: int, pid: int | None) -> list[ports.PortHolder]:
        """Return the listeners on `port` that are not its own.

        Those of another user count as its own: their pids are not visible.
        """
        if self.health is None or self._hides_pids:
            return []
        return [holder for holder in ports.strangers(port, pid) if holder.pid is not None]

    @property
    def _hides_pids(self) -> bool:
        """Whether it has a program whose pid it does not tell: we have sent no key, or a wrong one.

        A program that is attached has no pid either, but is not one that it has started.
        """
        health = self.health or {}
        if health.get("backend_type") == "attach" or health.get("model_path"):
            return False
        children = [health.get(name) or {} for name in ("runtime", "tokenizer")]
        running = [child for child in children if child.get("state") in _WITH_PROCESS]
        return any(child.get("pid") is None for child in running)

    def describe(self) -> str:
        if self.health is None:
            return (
                f"the service is running, but does not answer at {self.url}; "
                "set AX650_PORT here to the port of the service"
            )
        programs = filter(None, (self.health["runtime"], self.health["tokenizer"]))
        note = next((program["note"] for program in programs if program["note"]), None)
        reports = f"; it reports: {note}" if note else ""
        if self._hides_pids:
            reports = "; set AX650_API_KEY here to its key to see more"
        kind, status = self.health["backend_type"], self.health["status"]
        return f"the service is running at {self.url}: {status}, {kind}{reports}"


def why_stopped(unit: str) -> str:
    """Return that the service is not running, and what to do if systemd refuses to start it."""
    stopped = "the service is not running"
    systemctl = shutil.which("systemctl")
    if not systemctl:
        return stopped
    asked = subprocess.run(
        [systemctl, "show", "--property=Result", unit],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    if "start-limit-hit" not in asked.stdout:
        return stopped
    again = f"sudo systemctl reset-failed {unit} && sudo systemctl start {unit}"
    return f"{stopped}: systemd refuses more starts; run: {again}"


def find_service(settings: Settings, root: Path = Path("/")) -> RunningService | None:
    """Return the service if it is running; this does not disturb it."""
    health = _health(settings.own_url, settings.api_key)
    if health is None and not is_held(settings.runtime_port, root):
        return None
    return RunningService(settings.own_url, health)


def _health(url: str, key: str | None) -> dict[str, Any] | None:
    with requests.Session() as session:
        session.trust_env = False
        if key:  # without it, paths and pids are not shown
            session.headers["X-Api-Key"] = key.encode()
        try:
            body = session.get(f"{url}/health", timeout=5.0).json()
        except (requests.RequestException, ValueError):
            return None
    is_ours = isinstance(body, dict) and {"backend_type", "runtime", "tokenizer"} <= body.keys()
    return body if is_ours else None
