"""`ax650 config`: every setting, its value, and where that was set."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from axproxy.cli.service import settings_by_hand
from axproxy.cli.terminal import table
from axproxy.preflight.unit_settings import UnitSettings
from axproxy.printable import printable
from axproxy.settings import OLLAMA_VARIABLES, SECRETS, Settings

HIDDEN = "(hidden)"


@dataclass(frozen=True)
class SettingValue:
    """`value` is printable; `source` says where it was set."""

    variable: str
    value: str
    source: str


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--set", action="store_true", help="only what is not the default")


def run(options: argparse.Namespace) -> int:
    settings, unit = settings_by_hand()
    shown = list(setting_values(settings, unit, os.environ))
    if options.set:
        shown = [each for each in shown if each.source != "default"]
    if options.json:
        print(json.dumps([vars(each) for each in shown], indent=2, ensure_ascii=False))
        return 0
    print(table([("SETTING", "VALUE", "FROM"), *((e.variable, e.value, e.source) for e in shown)]))
    for file in unit.unread if unit else ():
        print(f"This user may not read {file}, so its settings are missing; use sudo.")
    return 0


def setting_values(
    settings: Settings, unit: UnitSettings | None, shell: Mapping[str, str]
) -> Iterator[SettingValue]:
    """Yield each setting; secrets are hidden, an empty value means that it is not set."""
    for field in fields(settings):
        variable: str = field.metadata["variable"]
        value = getattr(settings, field.name)
        source = _source(variable, field.name, unit, shell) if value != field.default else "default"
        yield SettingValue(variable, _text(variable, value), source)


def _source(variable: str, name: str, unit: UnitSettings | None, shell: Mapping[str, str]) -> str:
    name = "host" if name == "port" else name  # OLLAMA_HOST sets both
    theirs = [ollama for ollama, (known, _parse) in OLLAMA_VARIABLES.items() if name == known]
    for each in (variable, *theirs):
        what = "" if each == variable else f"{each} in "
        if shell.get(each, "").strip():
            return f"{what}this shell"
        if unit and unit.values.get(each, "").strip():
            return what + unit.places.get(each, "the unit")
    return "default"


def _text(variable: str, value: object) -> str:
    if value is None or value == ():
        return ""
    if variable in SECRETS:
        return HIDDEN
    if isinstance(value, tuple):
        return printable(", ".join(map(str, value)))
    if isinstance(value, float):
        return "-1" if value == float("inf") else f"{value:g}"
    return printable(str(value))
