"""Parsers of the settings' values.

Each raises `ValueError` with what completes "AX650_… must be …".
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from axproxy.durations import FOREVER, parse_keep_alive

# `[host/][namespace/]model[:tag]`; `:cloud` and `:local` mean something else to clients.
_MODEL_NAME = re.compile(
    r"(?:(?:\w[\w.:-]*/)?\w[\w-]{0,79}/)?\w[\w.-]{0,79}(?::\w[\w.-]{0,79})?", re.ASCII
)


def text(value: str) -> str:
    return value


def words(value: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise ValueError("a command line whose quotes match") from error


def names(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


def path(value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError("a path in a home folder that exists") from error


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return parse


def positive_seconds(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError("a number of seconds above 0")
    return number


def time_span(value: str) -> float:
    try:
        return parse_keep_alive(value)
    except ValueError as error:
        raise ValueError('seconds, a duration like "5m", or -1 for ever') from error


def load_timeout(value: str) -> float:
    seconds = time_span(value)
    return seconds if seconds > 0 else FOREVER


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return value.lower()

    return parse


def aliases(value: str) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for pair in names(value):
        alias, sign, name = (part.strip() for part in pair.partition("="))
        if not sign or not _MODEL_NAME.fullmatch(name):
            raise ValueError("pairs like gpt-4o=qwen3:4b, or *=qwen3:4b for every other name")
        if alias != "*" and not _MODEL_NAME.fullmatch(alias):
            raise ValueError("names as Ollama's before each =, or *")
        found[alias] = name
    return tuple(found.items())


def model_name(value: str) -> str:
    name = value.removesuffix(":latest").lower()
    if not _MODEL_NAME.fullmatch(value) or name.endswith((":cloud", ":local", "-cloud")):
        raise ValueError("a name as Ollama's, such as qwen3:1.7b, without blanks")
    return value


tcp_port = whole(1, 65535)
