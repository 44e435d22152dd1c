"""`ax650 status`: the state of the service, once or as it changes."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from axproxy.cli.service import CommandFailed, NotRunning, ServiceClient, settings_by_hand
from axproxy.cli.terminal import bar, coloured, size_text, time_text
from axproxy.printable import printable

WATCH_INTERVAL = 1.0  # seconds
_MIB = 1024 * 1024
_GREEN, _YELLOW, _RED = "32", "33", "31"
_COLOURS = {
    **dict.fromkeys(("ok", "ready", "unloaded"), _GREEN),
    **dict.fromkeys(("loading", "starting", "stopping", "restarting"), _YELLOW),
    **dict.fromkeys(("failed", "backoff", "blocked"), _RED),
}
_CLEAR = "\x1b[H\x1b[J"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="show it anew each second")
    parser.add_argument("--json", action="store_true", help="print the body of GET /health")
    parser.epilog = "Exit status: 0 if a request would run now, 1 if not, 3 without a service."


def run(options: argparse.Namespace) -> int:
    """Print the state; return 0 if a request would run now."""
    settings, _ = settings_by_hand()
    client = ServiceClient(settings)
    if options.watch:
        return _watch(client)
    health = client.get("/health")
    if options.json:
        print(json.dumps(health, indent=2, ensure_ascii=False))
    else:
        print(render(health, client.url, time.time()))
    return 0 if health["status"] in ("ok", "unloaded") else 1


def _watch(client: ServiceClient) -> int:
    while True:
        try:
            shown = render(client.get("/health"), client.url, time.time())
        except (NotRunning, CommandFailed) as error:
            shown = f"{error}\n(asked again each second; Ctrl-C ends this)"
        print(_CLEAR + shown if sys.stdout.isatty() else shown, flush=True)
        time.sleep(WATCH_INTERVAL)


def render(health: Mapping[str, Any], url: str, now: float) -> str:
    """Return the lines about a body of `GET /health`; `now` is in seconds since the epoch."""
    lines = [f"ax650 {health.get('version', '')} at {url}: {_state(health['status'])}"]
    if health["backend_type"] == "mock":
        lines[0] += coloured("  (a SIMULATOR answers, not a model)", _YELLOW)
    context = health.get("context_length")
    window = f", a context of {context} tokens" if context else ""
    loaded = "loaded" if health["model_loaded"] else "not loaded"
    lines.append(_row("model", f"{printable(health['model'])}: {loaded}{window}"))
    for name in ("runtime", "tokenizer"):
        if program := health.get(name):
            lines.append(_row(name, _program(program, now)))
            lines += [_row("", printable(note)) for note in (program.get("note"),) if note]
    queue = health["queue"]
    answering = "an answer is running" if queue["answering"] else "idle"
    lines.append(
        _row("queue", f"{answering}, {queue['waiting']} of {queue['places']} places taken")
    )
    if cache := health.get("kv_cache"):
        prompts = cache["hits"] + cache["misses"]
        lines.append(_row("KV cache", f"{cache['hits']} of {prompts} prompts continued from it"))
    lines += [_row("card", text) for text in (_card(health["device"]),) if text]
    lines += [_row("host", text) for text in (_host(health["host"]),) if text]
    for check in health["preflight"]:
        if check["verdict"] in ("warn", "fail"):
            colour = _RED if check["verdict"] == "fail" else _YELLOW
            lines.append(
                _row(coloured(check["verdict"], colour), f"{check['name']}: {check['seen']}")
            )
            lines += [_row("", f"-> {check['remedy']}")] if check["remedy"] else []
    return "\n".join(lines)


def _row(name: str, text: str) -> str:
    visible = len(name) if not name.startswith("\x1b") else 4
    return f"{name}{' ' * (11 - visible)}{text}"


def _state(state: str) -> str:
    return coloured(state, _COLOURS.get(state, "0"))


def _program(program: Mapping[str, Any], now: float) -> str:
    parts = [f"{_state(program['state'])} since {time_text(now - program['since'])}"]
    percent = program.get("load_percent")
    if program["state"] == "starting" and percent is not None:
        parts[0] = f"{_state('starting')} {bar(percent)} {percent} %"
    if program.get("pid"):
        parts.append(f"pid {program['pid']}")
    if restarts := program.get("restarts"):
        parts.append(f"{restarts} restart{'s' * (restarts != 1)}")
    if program.get("last_exit"):
        parts.append(f"last exit: {printable(program['last_exit'])}")
    return ", ".join(parts)


def _card(card: Mapping[str, Any]) -> str:
    return ", ".join(
        text
        for text in (
            _measured(card["temperature_c"], "{} °C"),
            _memory(card["cmm_used_mb"], card["cmm_total_mb"]),
            _measured(card["npu_percent"], "NPU {} % busy"),
        )
        if text
    )


def _host(host: Mapping[str, Any]) -> str:
    free = host.get("cma_free_mb")
    return ", ".join(
        text
        for text in (
            _measured(host["temperature_c"], "{:.0f} °C"),
            _memory(host["memory_used_mb"], None),
            f"{size_text(free * _MIB)} of CMA free" if free is not None else "",
        )
        if text
    )


def _measured(value: float | None, text: str) -> str:
    return "" if value is None else text.format(value)


def _memory(used: int | None, total: int | None) -> str:
    if used is None:
        return ""
    of = f" of {size_text(total * _MIB)}" if total else ""
    return f"{size_text(used * _MIB)}{of} of memory used"
