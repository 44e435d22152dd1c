"""Start the whole service as a user would, ask it a question and print the answer as it streams.

./run_integration.sh            stops the service again; exit status 0 when the answer came
./run_integration.sh --serve    keeps it running until Ctrl-C
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

from axproxy.cli.own_python import end_quietly_by_ctrl_c

if __name__ == "__main__":
    end_quietly_by_ctrl_c()

import psutil
import requests

from axproxy.cli.log_relay import CLEAR_LINE, LogRelay
from axproxy.models.store import configured_settings
from axproxy.preflight.checks import require_known_checks, require_model
from axproxy.printable import printable
from axproxy.process.ports import free_port, holders
from axproxy.process.process import die_with_parent
from axproxy.settings import Settings, SettingsError

BACKEND = Path(__file__).resolve().parents[2] / "backend.py"
PATIENCE = 20.0  # seconds without a change in which something may stand in the way of the start
QUESTION = "Why is the sky blue?"
HTTP = requests.Session()
HTTP.trust_env = False  # no proxy from the environment for requests to the loopback


class SmokeTestFailed(Exception):
    """Carries the sentence that is printed before the program ends with status 1."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="run_integration.sh", description="Start the whole stack and ask it one question."
    )
    parser.add_argument("--serve", action="store_true", help="keep it up until Ctrl-C")
    parser.add_argument("--question", default=QUESTION, help="what to ask (default: %(default)s)")
    arguments = parser.parse_args()
    # Both signals end this through the `finally` below, so nothing is left behind.  A shell lets
    # its background jobs ignore SIGINT, and Python keeps that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        environ = with_usable_ports(os.environ)
        settings = configured_settings(environ)
        require_known_checks(settings)
        require_model(settings)
    except SettingsError as error:
        print(f"run_integration: {error}", file=sys.stderr)
        return 2
    if not arguments.serve:  # the lines printed below are enough when all is well
        warn_about_simulator(settings)
        environ.setdefault("AX650_LOG_LEVEL", "warning")
        if settings.runtime_kind == "mock" and settings.runtime == "auto":
            environ["AX650_RUNTIME"] = "mock"  # or the log would warn once more
    if settings.api_key:
        HTTP.headers["Authorization"] = f"Bearer {settings.api_key}"
    if found := holders(settings.port):
        print(
            f"run_integration: port {settings.port} is held by {found[0]}; stop that, or choose "
            "another port with AX650_PORT",
            file=sys.stderr,
        )
        return 2
    return run_service(settings, environ, arguments.question, arguments.serve)


def run_service(settings: Settings, environ: Mapping[str, str], question: str, keep: bool) -> int:
    """Start one service, use it and stop it; return the exit status."""
    command = [*die_with_parent(logging.getLogger()), sys.executable, str(BACKEND)]
    service = subprocess.Popen(command, env=environ, process_group=0, stderr=subprocess.PIPE)
    moves = sys.stdout.isatty() and sys.stderr.isatty()
    relay = LogRelay(
        cast(IO[bytes], service.stderr), sys.stderr.buffer, CLEAR_LINE if moves else b""
    )
    descendants: set[psutil.Process] = set()
    failed, status = "", 0
    try:
        base = settings.own_url
        wait_until_ready(service, base, math.inf if keep else PATIENCE)
        descendants |= descendants_of(service)
        with relay.paused():
            ask(base, model_of(base) or settings.model, question)
        if keep:
            serve(service, base, settings)
    except SmokeTestFailed as failure:
        failed = str(failure)
    except KeyboardInterrupt:
        print()
        status = 0 if keep else 130
    finally:
        descendants |= descendants_of(service)
        stop(service, descendants)
        relay.wait(5)
    if left := [process for process in descendants if process.is_running()]:
        failed = f"{failed}; still running: {left}".removeprefix("; ")
    if failed:  # last of all, or the service's last log lines would hide it
        print(f"run_integration: {failed}", file=sys.stderr)
        return 1
    print("stopped; no process is left behind")
    return status


def warn_about_simulator(settings: Settings) -> None:
    if settings.runtime_kind == "mock" and settings.runtime != "auto":
        print(f"** AX650_RUNTIME={settings.runtime}: the SIMULATOR answers, not a model. **")
    elif settings.runtime_kind == "mock":
        print("** No card is configured: the SIMULATOR answers, not a model. **")
        print("** Set AX650_MODEL_PATH to a model's folder to use the card.  **")


def with_usable_ports(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment, with a free port for each default port that is taken."""
    chosen = dict(environ)
    settings = configured_settings(environ)
    defaults = {"AX650_PORT": settings.port}
    if settings.runtime_kind == "mock":  # the vendor's program has a fixed port
        defaults["AX650_RUNTIME_PORT"] = settings.runtime_port
    if settings.runtime_kind != "attach":
        defaults["AX650_TOKENIZER_PORT"] = settings.tokenizer_port
    for variable, number in defaults.items():
        if not chosen.get(variable) and holders(number):
            chosen[variable] = str(free_port())
            print(f"port {number} is taken, using {chosen[variable]} ({variable})")
    return chosen


def wait_until_ready(
    service: subprocess.Popen[bytes], base: str, patience: float = PATIENCE
) -> None:
    """Print what the service does until it answers.

    Raises `SmokeTestFailed` when it cannot: when it has ended or given up, or when something has
    stood in the way of the start for `patience` seconds.
    """
    progress = Progress()
    while True:
        if service.poll() is not None:
            raise SmokeTestFailed("the service has ended; its log above shows why")
        health = get_health(base)
        if health:
            runtime, tokenizer = health["runtime"], health["tokenizer"]
            percent = runtime["load_percent"]
            news = f"tokenizer {tokenizer['state']}, " if tokenizer else ""  # axllm needs none
            news += f"runtime {runtime['state']}" + (
                f", model loaded to {percent} %" if percent is not None else ""
            )
            if note := runtime["note"] or (tokenizer and tokenizer["note"]):
                news += f"; {note}"
            progress.show(news)
            if health["status"] == "ok":
                progress.end()
                return
            blocked = note and runtime["pid"] is None and progress.unchanged() >= patience
            if blocked:
                raise SmokeTestFailed(note)
            if note and (health["status"] == "failed" or health_restarts(health) > 1):
                raise SmokeTestFailed(note)
        time.sleep(0.1)


class Progress:
    """Shows what goes on: on a terminal in a line that moves, else in a line for each change."""

    def __init__(self) -> None:
        self._moves = sys.stdout.isatty()
        self._began = self._changed = time.monotonic()
        self._shown = ""

    def show(self, news: str) -> None:
        now = time.monotonic()
        if news != self._shown:
            self._shown, self._changed = news, now
            if not self._moves:
                print(f"  {news}")
        if self._moves:
            line = f"  {now - self._began:3.0f} s  {news}"
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{line[:width]}", end="", flush=True)

    def end(self) -> None:
        if self._moves:
            print()

    def unchanged(self) -> float:
        """Return for how many seconds the same has been shown."""
        return time.monotonic() - self._changed


def health_restarts(health: dict[str, Any]) -> int:
    programs = filter(None, (health["runtime"], health["tokenizer"]))
    return sum(program["restarts"] or 0 for program in programs)


def get_health(base: str) -> dict[str, Any] | None:
    try:
        body: dict[str, Any] = HTTP.get(f"{base}/health", timeout=5).json()
    except requests.RequestException:  # not listening yet
        return None
    return body


def model_of(base: str) -> str:
    """Return the name of the model that the service reports, empty where it has none."""
    name: str = HTTP.get(f"{base}/health", timeout=10).json()["model"]
    return name


def ask(base: str, model: str, question: str) -> None:
    # Thinking could take minutes, in which nothing would be printed here.
    body = {"model": model, "messages": [{"role": "user", "content": question}], "think": False}
    print(f"\n> {question}")
    final: dict[str, Any] = {}
    with HTTP.post(f"{base}/api/chat", json=body, stream=True, timeout=600) as reply:
        for line in reply.iter_lines():
            final = json.loads(line)
            if "error" in final:
                raise SmokeTestFailed(final["error"])
            print(
                printable(final["message"]["content"]),
                end="\n" if final["done"] else "",
                flush=True,
            )
    if not final.get("done"):
        raise SmokeTestFailed("the answer broke off")
    tokens, seconds = final["eval_count"], final["eval_duration"] / 1e9
    speed = f"{tokens / seconds:.1f} tokens/s" if seconds else "at once"
    first = final["prompt_eval_duration"] / 1e9
    print(
        f"\n{final['prompt_eval_count']} prompt tokens, first text after {first:.2f} s, "
        f"{tokens} tokens, {speed}"
    )


def serve(service: subprocess.Popen[bytes], base: str, settings: Settings) -> None:
    print(f"\nserving {settings.model} on {base}; Ctrl-C stops it. Try:")
    print(f'  curl {base}/generate -d \'{{"prompt":"{QUESTION}","max_tokens":64}}\'')
    sys.stdout.flush()
    if status := service.wait():
        raise SmokeTestFailed(f"the service has ended with status {status}")


def descendants_of(service: subprocess.Popen[bytes]) -> set[psutil.Process]:
    """Return the processes that it has started and that run now; none once it has ended."""
    try:
        return set(psutil.Process(service.pid).children(recursive=True))
    except psutil.Error:
        return set()


def stop(service: subprocess.Popen[bytes], descendants: set[psutil.Process]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C must not leave orphans
        signal.signal(number, signal.SIG_IGN)
    if service.poll() is None:
        service.terminate()
    service.wait()
    psutil.wait_procs(descendants, timeout=5)


if __name__ == "__main__":
    sys.exit(main())
