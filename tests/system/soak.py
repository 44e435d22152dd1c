"""Sends many random conversations to the whole service on the simulated card.

Clients disconnect and programs are killed meanwhile.  No text of one request may reach another, and
memory, threads and descriptors must not grow.

python -m tests.system.soak --requests 2000 --minutes 30
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.support.asking import PREFACE
from tests.support.service import Service

CLIENTS = 6
ESCAPE = re.compile(r"m\d{7}m")
MOCK = "--load-seconds 0.1 --tokens-per-second 400 --prefill-tokens-per-second 8000"
PROGRAMS = ("runtime", "tokenizer")
FAILURES_IN_A_ROW = 4
SETTLED = 125.0  # seconds without a failure after which the supervisor clears their count
ROUTES = ("/api/chat", "/api/generate", "/generate")

# By how much a process may grow between the first tenth of the requests and the end.
GROWTH = {"MB": 12.0, "threads": 4.0, "descriptors": 8.0}
WARM_UP = 0.1


@dataclass(frozen=True)
class Use:
    """The resources of a process."""

    mb: float
    threads: int
    descriptors: int

    @classmethod
    def of(cls, process: psutil.Process) -> Use:
        return cls(process.memory_info().rss / 1e6, process.num_threads(), process.num_fds())


class Tally:
    """Counts how the requests ended; all clients use it."""

    def __init__(self, most: int) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()  # guards all fields
        self._most = most
        self._next = 0

    @property
    def begun(self) -> int:
        return self._next

    def number(self) -> int | None:
        """Return the number of a new request, or `None` when there are enough."""
        with self._lock:
            if self._next >= self._most or self.wrong:
                return None
            self._next += 1
            return self._next

    def note(self, outcome: str, wrong: str | None = None) -> None:
        with self._lock:
            self.counts[outcome] += 1
            if wrong:
                self.wrong.append(wrong)


class Client:
    """Sends one request after the other, some in its last conversation; leaves some early."""

    def __init__(self, service: Service, tally: Tally, seed: int) -> None:
        self._service = service
        self._tally = tally
        self._chance = random.Random(seed)  # noqa: S311 - no secrets
        self._history: list[dict[str, str]] = []
        self._http = requests.Session()
        self._http.trust_env = False

    def run(self, until: float) -> None:
        while time.monotonic() < until and (number := self._tally.number()) is not None:
            self._ask(f"m{number:07}m")
        self._http.close()

    def _ask(self, marker: str) -> None:
        words = " ".join(self._chance.choices(("blue", "sky", "why", "日本", "🙂"), k=9))
        prompt = f"{marker} {words} {marker}"
        path = self._chance.choice(ROUTES)
        stream = self._chance.random() < 0.7
        leave_after = self._chance.randrange(1, 12) if self._chance.random() < 0.25 else None
        body: dict[str, object] = {"model": "mock", "stream": stream, "prompt": prompt}
        if path == "/api/chat":
            if self._chance.random() < 0.5 or len(self._history) > 6:
                self._history = []
            self._history.append({"role": "user", "content": prompt})
            body |= {"messages": self._history, "think": False}
        try:
            text, ending = self._answer(path, body, leave_after if stream else None)
        except requests.RequestException:
            text, ending = "", "cut off"
        if path == "/api/chat":
            if ending == "whole":
                self._history.append({"role": "assistant", "content": text})
            else:
                self._history.pop()
        self._tally.note(ending, _fault(marker, PREFACE + prompt, text, ending))

    def _answer(
        self, path: str, body: dict[str, object], leave_after: int | None
    ) -> tuple[str, str]:
        """Send one request; return the text and how it ended."""
        texts: list[str] = []
        with self._http.post(
            self._service.base + path, json=body, stream=True, timeout=120
        ) as reply:
            for line in reply.iter_lines():
                value = json.loads(line)
                if "error" in value:
                    refused = reply.status_code != 200
                    return "".join(texts), "refused" if refused else "broken off"
                message = value.get("message") or {}
                texts.append(
                    message.get("content") or value.get("response") or value.get("text") or ""
                )
                if value.get("done") or value.get("finish_reason"):
                    return "".join(texts), "whole"
                if leave_after is not None and len(texts) >= leave_after:
                    return "".join(texts), "left"
        return "".join(texts), "ended without an end"


def _fault(marker: str, expected: str, text: str, ending: str) -> str | None:
    if strangers := set(ESCAPE.findall(text)) - {marker}:
        return f"{marker} got text of {strangers}"
    if ending in ("cut off", "ended without an end") or not expected.startswith(text):
        return f"{marker} ({ending}) got {text!r}"
    if ending == "whole" and text != expected:
        return f"{marker} got {text!r} as a complete answer"
    return None


class Killer:
    """Kills the runtime or the tokenizer now and then, after the service has recovered.

    It does so rarely enough that neither is given up, and no wait is longer than requests are held.
    """

    def __init__(self, service: Service, pause: float, seed: int) -> None:
        self.killed: collections.Counter[str] = collections.Counter()
        self.restored: list[float] = []
        self._service = service
        self._pause = pause
        self._chance = random.Random(seed)  # noqa: S311 - no secrets
        self._over = threading.Event()
        self._cleared = dict.fromkeys(PROGRAMS, 0)  # restarts that no longer count

    def stop(self) -> None:
        self._over.set()

    def _may_fail_again(self, name: str, health: dict[str, Any]) -> bool:
        state = health[name]
        if state["state"] == "ready" and time.time() - state["since"] > SETTLED:
            self._cleared[name] = state["restarts"]
        return bool(state["restarts"] - self._cleared[name] < FAILURES_IN_A_ROW)

    def run(self) -> None:
        while not self._over.wait(self._chance.uniform(0.5, 1.5) * self._pause):
            name = self._chance.choice(PROGRAMS)
            health = self._service.health()
            pid = health[name]["pid"]
            if pid is None or not all([self._may_fail_again(which, health) for which in PROGRAMS]):
                continue
            began = time.monotonic()
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.killed[name] += 1
            while self._service.health()[name]["pid"] in (pid, None) or not self._service.ready():
                if self._over.wait(0.05):
                    return
            self.restored.append(time.monotonic() - began)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=30.0, help="at most")
    parser.add_argument("--kill-every", type=float, default=20.0, help="seconds, on average")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    wish = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the `finally` below
    with tempfile.TemporaryDirectory() as folder:
        service = Service({"AX650_MOCK_ARGS": MOCK}, Path(folder) / "log")
        try:
            return _soak(service, wish)
        finally:
            service.stop()


def _soak(service: Service, wish: argparse.Namespace) -> int:
    print(f"seed {wish.seed}; the service logs to {service.log}", flush=True)
    while not service.ready():
        time.sleep(0.1)
    began = time.monotonic()
    tally = Tally(wish.requests)
    killer = Killer(service, wish.kill_every, wish.seed)
    clients = [
        threading.Thread(
            target=Client(service, tally, wish.seed + number).run,
            args=(began + 60 * wish.minutes,),
            daemon=True,
        )
        for number in range(CLIENTS)
    ]
    killing = threading.Thread(target=killer.run, daemon=True)
    for thread in (*clients, killing):
        thread.start()
    uses: list[dict[str, Use]] = []
    next_line = began + 60
    while any(thread.is_alive() for thread in clients):
        clients[0].join(2.0)
        if time.monotonic() >= next_line:
            next_line += 60
            print(f"{tally.begun} of {wish.requests} requests begun", flush=True)
        if tally.begun >= WARM_UP * wish.requests:
            uses += _look(service)
    killer.stop()
    killing.join()
    while not service.ready():
        time.sleep(0.1)
    uses += _look(service)
    return _report(tally, killer, uses, time.monotonic() - began, service)


def _look(service: Service) -> list[dict[str, Use]]:
    tokenizer, _runtime = service.pids()
    try:
        child = psutil.Process(tokenizer)
        return [{"worker": Use.of(child.parent() or child), "tokenizer": Use.of(child)}]
    except (psutil.Error, ValueError, TypeError):  # it was killed in this moment
        return []


def _report(
    tally: Tally,
    killer: Killer,
    uses: list[dict[str, Use]],
    seconds: float,
    service: Service,
) -> int:
    counts = ", ".join(f"{count} {ending}" for ending, count in tally.counts.most_common())
    print(f"{tally.counts.total()} requests in {seconds:.0f} s: {counts}")
    slowest = max(killer.restored, default=0.0)
    print(f"killed: {dict(killer.killed)}; ready again after at most {slowest:.1f} s")
    problems = list(tally.wrong)
    for name in ("worker", "tokenizer"):
        first, last = uses[0][name], uses[-1][name]
        for what, before, after in (
            ("MB", first.mb, last.mb),
            ("threads", first.threads, last.threads),
            ("descriptors", first.descriptors, last.descriptors),
        ):
            print(f"{name}: {before:.0f} -> {after:.0f} {what}")
            if after > before + GROWTH[what]:
                problems.append(f"the {name} grew from {before:.0f} to {after:.0f} {what}")
    if "Traceback" in (log := service.log.read_text()):
        problems.append(f"a traceback in the log:\n{log[log.index('Traceback') - 500 :][:3000]}")
    for problem in problems:
        print(f"WRONG: {problem}")
    print("failed" if problems else "all is well")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
