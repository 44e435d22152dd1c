"""`python backend.py doctor`: every check by hand, with or without the service."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

from axproxy.preflight.checks import Check, checks_for, require_known_checks
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding, Severity
from axproxy.preflight.inspection import Inspection
from axproxy.preflight.pcie import cards_on_the_bus
from axproxy.preflight.running_service import RunningService, find_service
from axproxy.settings import Settings, SettingsError

_COLOURS: dict[Severity, str] = {"ok": "32", "warn": "33", "fail": "31", "skip": "2"}
_OF_ITS_USER = ("device-node", "log-folder")
_SIMULATOR = (
    "no model is configured and no card is in sight, so a simulator answers; "
    "set AX650_MODEL_PATH to use a card"
)


def examine(
    settings: Settings, service: RunningService | None, root: Path = Path("/")
) -> list[Finding]:
    """All findings about this machine; a running service is not disturbed."""
    context = context_for(settings, service, root)
    findings = Inspection(_checks(context)).run(context)
    said = service.said_as_another_user() if service else {}
    # What another user may open, and its private /tmp, only that user can tell.
    return [said.get(f.name, f) if f.name in _OF_ITS_USER else f for f in findings]


def context_for(settings: Settings, service: RunningService | None, root: Path) -> CheckContext:
    """The same as before a launch, except that the service's own ports are its own.

    A shell seldom has the settings of the unit, so what the service uses is asked of it.
    """
    if service is None:
        return CheckContext(settings, root, owner=None)
    health: Mapping[str, Any] = service.health or {}
    if settings.model_path is None and health.get("backend_type") == "vendor":
        settings = replace(
            settings,
            runtime="vendor",
            model_path=Path(health["model_path"]),
            runtime_bin=service.program() or settings.runtime_bin,
        )
    return CheckContext(
        settings,
        root,
        owner=service.pid(),
        loading=service.loading,
        other_holders=service.other_holders,
    )


def _checks(context: CheckContext) -> Sequence[Check]:
    kind = context.settings.runtime_kind
    undecided = context.settings.runtime == "auto" and kind == "mock"
    return checks_for("vendor" if undecided and _card_in_sight(context) else kind)


def _card_in_sight(context: CheckContext) -> bool:
    return bool(cards_on_the_bus(context)) or context.at("/dev/axcl_host").exists()


def render(findings: Sequence[Finding], colour: bool) -> str:
    """One line for each finding, and one with the remedy where there is one."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        verdict = f"{finding.verdict:4}"
        if colour:
            verdict = f"\x1b[{_COLOURS[finding.verdict]}m{verdict}\x1b[0m"
        lines.append(f"{verdict}  {finding.name:{width}}  {finding.seen}")
        if finding.remedy:
            lines.append(f"{'':{width + 8}}-> {finding.remedy}")
    return "\n".join(lines)


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """On a terminal, unless NO_COLOR (no-color.org) says otherwise."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 when nothing fails, 1 when something does, 2 for bad settings."""
    parser = argparse.ArgumentParser(
        prog="backend.py doctor", description="Looks whether the card's program could be started."
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(arguments)
    try:
        settings = Settings.from_env(os.environ)
        require_known_checks(settings)
    except SettingsError as error:
        print(f"backend: {error}", file=sys.stderr)
        return 2
    service = find_service(settings)
    findings = examine(settings, service)
    failed = [finding for finding in findings if finding.verdict == "fail"]
    if options.json:
        body = {
            "ok": not failed,
            "service": service.describe() if service else None,
            "findings": [asdict(finding) for finding in findings],
        }
        print(json.dumps(body, indent=2, ensure_ascii=False))
        return 1 if failed else 0
    print(service.describe() if service else "the service does not run")
    print(render(findings, wants_colour(sys.stdout, os.environ)))
    if len(findings) == 1 and service is None and settings.runtime == "auto":
        print(_SIMULATOR)
    warned = sum(finding.verdict == "warn" for finding in findings)
    print(f"{len(failed)} failed, {warned} to think about, {len(findings)} looked at")
    return 1 if failed else 0
