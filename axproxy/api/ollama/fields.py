"""Fields of Ollama's requests that may be of several types: what they mean, and its words for the
values that mean nothing."""

from __future__ import annotations

from typing import Any

from axproxy.api.gojson.decode import Fields, compact, go_type, quoted, well_formed
from axproxy.durations import FOREVER, parse_duration
from axproxy.errors import ClientError
from axproxy.output.json_format import AnswerFormat

_LEVELS = ("high", "medium", "low", "max")
_THINK_VALUES = '"high", "medium", "low", "max", true, or false'
_LONGEST = 2**63 / 1e9  # seconds; Go counts nanoseconds in 64 bits


class UnknownFormat(ClientError):
    """A `format` that is neither JSON nor a schema; Ollama answers this one with 500."""

    status_hint = 500


def keep_alive(value: Any) -> float | None:
    """Seconds that the model should stay loaded; `None` leaves it to the service.

    A number counts seconds, a string is a duration with a unit, negative means for ever.  Raises
    `ClientError` in Go's words.
    """
    match value:
        case None:
            return None
        case bool() | list() | dict():
            raise ClientError(f"Unsupported type: '{go_type(value)}'")
        case str():
            seconds = _duration(well_formed(value))
        case _:
            seconds = FOREVER if value < 0 or value > _LONGEST else float(value)
    return seconds if seconds >= 1e-9 else 0.0


def _duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ClientError(str(error)) from error
    if _LONGEST < seconds < FOREVER:
        raise ClientError(f"time: invalid duration {quoted(text)}")
    return seconds


def think(value: Any) -> bool | None:
    """Whether the model shall think before it answers; `None` leaves it to the model."""
    match value:
        case None | bool():
            return value
        case str() if value in _LEVELS:
            return True
        case str():
            raise ClientError(f"invalid think value: {quoted(value)} (must be {_THINK_VALUES})")
        case _:
            raise ClientError(f"think must be a boolean or string ({_THINK_VALUES})")


def form(value: Any) -> AnswerFormat | None:
    """The form that an answer must have, if any.  Raises `UnknownFormat` for none that Ollama
    knows."""
    match value:
        case None | "":
            return None
        case "json":
            return "json"
        case dict():
            return value
    said = quoted(compact(value).decode())
    raise UnknownFormat(f'invalid format: {said}; expected "json" or a valid JSON Schema object')


def check_logprobs(fields: Fields) -> None:
    """Reads what asks for probabilities, which the vendor's program does not tell."""
    fields.boolean("logprobs")
    if not 0 <= fields.integer("top_logprobs") <= 20:
        raise ClientError("top_logprobs must be between 0 and 20")
