"""`python backend.py doctor`: runs every check by hand, beside the service or without it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TextIO

from axproxy.card.environment import ROOT
from axproxy.models.store import configured_settings
from axproxy.preflight.checks import Check, checks_for, require_known_checks
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding, Severity
from axproxy.preflight.inspection import Inspection
from axproxy.preflight.pcie import cards_on_the_bus
from axproxy.preflight.running_service import RunningService, find_service, why_stopped
from axproxy.preflight.unit_settings import UNIT, read_unit_settings
from axproxy.settings import Settings, SettingsError

_COLOURS: dict[Severity, str] = {"ok": "32", "warn": "33", "fail": "31", "skip": "2"}
_DEPEND_ON_THE_USER = ("device-node", "log-folder")  # in the service's private /tmp
_FILES = ("binary", "model-folder", "models-dir")  # may be closed to the service's user only
_SIMULATOR = (
    "No model is configured and no card was found, so a simulator answers. "
    "Set AX650_MODEL_PATH to use a card."
)


def examine(
    settings: Settings, service: RunningService | None, root: Path = Path("/")
) -> list[Finding]:
    """Return all findings about this machine; a running service is not disturbed."""
    context = context_for(settings, service, root)
    findings = Inspection(_checks(context)).run(context)
    theirs = service.findings_of_another_user() if service else {}
    return [_of_the_right_user(finding, theirs.get(finding.name)) for finding in findings]


def _of_the_right_user(ours: Finding, theirs: Finding | None) -> Finding:
    """Return the finding that counts: only the service's user can check what that user can open."""
    closed_to_it = theirs is not None and theirs.verdict == "fail" and ours.name in _FILES
    return theirs if theirs and (ours.name in _DEPEND_ON_THE_USER or closed_to_it) else ours


def _relative_to(program: Path, settings: Settings) -> Settings:
    """Return the settings with relative paths below `program`, the unit's working folder."""
    paths: dict[str, Any] = {
        each.name: program / value
        for each in fields(settings)
        if isinstance(value := getattr(settings, each.name), Path)
    }
    return replace(settings, **paths)


def context_for(settings: Settings, service: RunningService | None, root: Path) -> CheckContext:
    """Return the context for the checks, in which the service may hold its ports.

    A shell seldom has the settings of the unit, so those that matter are taken from the service.
    """
    if service is None:
        return CheckContext(settings, root, owner=None)
    health: Mapping[str, Any] = service.health or {}
    folder = health.get("model_path")  # not told to those without the key
    if settings.model_path is None and folder and health["backend_type"] == "vendor":
        settings = replace(
            settings,
            runtime="vendor",
            model_path=Path(folder),
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
    wanted = context.settings.lacks_model or _card_found(context)
    needs_card = context.settings.needs_card
    return checks_for("vendor" if undecided and wanted else kind, card=needs_card)


def _card_found(context: CheckContext) -> bool:
    return bool(cards_on_the_bus(context)) or context.at("/dev/axcl_host").exists()


def render(findings: Sequence[Finding], colour: bool, columns: int | None = None) -> str:
    """Return one entry for each finding, its remedy on a line of its own.

    Text is wrapped to `columns`, if given.  A remedy never is: it is meant to be copied.
    """
    width = max(len(finding.name) for finding in findings)
    margin = " " * (width + 8)
    lines = []
    for finding in findings:
        verdict = f"{finding.verdict:4}"
        if colour:
            verdict = f"\x1b[{_COLOURS[finding.verdict]}m{verdict}\x1b[0m"
        seen = wrap(finding.seen, columns and columns - len(margin)).replace("\n", f"\n{margin}")
        lines.append(f"{verdict}  {finding.name:{width}}  {seen}")
        if finding.remedy:
            lines.append(f"{margin}-> {finding.remedy}")
    return "\n".join(lines)


def wrap(text: str, columns: int | None) -> str:
    """Return the text in lines of `columns` characters; paths and words stay whole."""
    if columns is None:
        return text
    return textwrap.fill(text, max(columns, 30), break_long_words=False, break_on_hyphens=False)


def summary(findings: Sequence[Finding]) -> str:
    """Return the last line: how many checks there were, and how many found something."""
    verdicts = [finding.verdict for finding in findings]
    failed, warned = verdicts.count("fail"), verdicts.count("warn")
    checks = len({finding.name for finding in findings})
    return (
        f"{checks} check{'s' * (checks != 1)}: "
        f"{failed} failed, {warned} warning{'s' * (warned != 1)}"
    )


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether the stream is a terminal and NO_COLOR (no-color.org) is not set."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, program: Path = ROOT, root: Path = Path("/")) -> int:
    """Print all findings about the service whose program is in the folder `program`.

    An installed service has its settings from systemd; they are read from the same files.  `root`
    is the folder with /etc.  Returns the exit status: 0 if no check fails, 1 if one does, 2 for
    bad settings.
    """
    unit = read_unit_settings(program, root)
    try:
        settings = configured_settings(unit.environment(os.environ) if unit else os.environ)
        require_known_checks(settings)
    except SettingsError as error:
        place = unit.place_of(str(error)) if unit else ""
        for sentence in (*(unit.bad if unit else ()), f"{place}{error}"):
            print(f"backend: {sentence}", file=sys.stderr)
        return 2
    if unit:
        settings = _relative_to(program, settings)
    service = find_service(settings)
    findings = examine(settings, service)
    if unit:
        running = bool(service and service.health)
        findings.insert(0, unit.finding(os.environ, program, running))
    failed = any(finding.verdict == "fail" for finding in findings)
    if options.json:
        body = {
            "ok": not failed,
            "service": service.describe() if service else None,
            "findings": [asdict(finding) for finding in findings],
        }
        print(json.dumps(body, indent=2, ensure_ascii=False))
        return 1 if failed else 0
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    stopped = why_stopped(UNIT) if unit else "the service is not running"
    print(wrap(service.describe() if service else stopped, columns))
    print(render(findings, wants_colour(sys.stdout, os.environ), columns))
    checked = {finding.name for finding in findings} - {"settings"}
    if checked == {"ports"} and service is None and settings.runtime == "auto":
        print(wrap(_SIMULATOR, columns))
    print(summary(findings))
    return 1 if failed else 0
