"""Ollama's `options`, and the fields of its requests that may be of several types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from axproxy.api.gojson.decode import Fields, compact, go_type, quoted, well_formed
from axproxy.durations import FOREVER, parse_duration
from axproxy.errors import ClientError, OptionOfWrongType
from axproxy.messages import Limits, Sampling
from axproxy.output.json_format import AnswerFormat

_LARGEST_TOP_K = 2**31 - 1  # the vendor's program keeps it in 32 bits
_LEVELS = ("high", "medium", "low", "max")
_THINK_VALUES = '"high", "medium", "low", "max", true, or false'
_LONGEST = 2**63 / 1e9  # seconds; Go counts nanoseconds in 64 bits


class UnknownFormat(ClientError):
    """A `format` that is neither JSON nor a schema; Ollama answers it with 500."""

    status_hint = 500


@dataclass(frozen=True)
class _OptionType:
    name: str  # Go's
    accepts: tuple[type, ...]
    read: Callable[[Any], Any]

    def takes(self, value: Any) -> bool:
        # To Python a bool is a number, to JSON it is not.
        return isinstance(value, self.accepts) and isinstance(value, bool) == (self.read is bool)


_FLOAT = _OptionType("float32", (int, float), float)
_WHOLE = _OptionType("integer", (int, float), int)
_SWITCH = _OptionType("boolean", (bool,), bool)
_STRINGS = _OptionType("array", (list,), tuple)

TYPES = {
    "temperature": _FLOAT,
    "top_k": _WHOLE,
    "top_p": _FLOAT,
    "repeat_penalty": _FLOAT,
    "min_p": _FLOAT,
    "seed": _WHOLE,
    "num_predict": _WHOLE,
    "stop": _STRINGS,
    # Checked, then ignored: the window is compiled into the model, the card has none of the rest.
    **dict.fromkeys(("typical_p", "presence_penalty", "frequency_penalty"), _FLOAT),
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread"), _WHOLE),
    **dict.fromkeys(("draft_num_predict", "num_keep", "repeat_last_n"), _WHOLE),
    "use_mmap": _SWITCH,
}


def parse_options(options: Mapping[str, Any]) -> tuple[Sampling, Limits]:
    """Parse the `options` of a request; unknown names and `null` are ignored.

    A value outside its range is replaced by the nearest end, as in Ollama's sampler.  Only a
    `num_predict` above zero limits the answer, as in Ollama's runner.  Raises `OptionOfWrongType`.
    """
    values = {
        name: _read(TYPES[name], name, value)
        for name, value in options.items()
        if value is not None and name in TYPES
    }
    sampling = Sampling(
        temperature=_within(0.0, values.get("temperature")),
        top_k=_within(0, values.get("top_k"), _LARGEST_TOP_K),
        top_p=_within(0.0, values.get("top_p"), 1.0),
        repeat_penalty=values.get("repeat_penalty"),
        min_p=_within(0.0, values.get("min_p"), 1.0),
        seed=values.get("seed"),
    )
    most = values.get("num_predict", -1)
    return sampling, Limits(max_tokens=most if most > 0 else None, stop=values.get("stop", ()))


def _read(type_: _OptionType, name: str, value: Any) -> Any:
    if not type_.takes(value):
        raise OptionOfWrongType(f'option "{name}" must be of type {type_.name}')
    if type_ is _STRINGS:
        return tuple(_text(name, item) for item in value)
    return type_.read(value)


def _text(name: str, item: Any) -> str:
    if not isinstance(item, str):
        raise OptionOfWrongType(f'option "{name}" must be of an array of strings')
    return well_formed(item)


def _within(low: Any, value: Any, high: Any = None) -> Any:
    if value is None:
        return None
    value = max(value, low)
    return value if high is None else min(value, high)


def parse_keep_alive(value: Any) -> float | None:
    """Return for how many seconds the model should stay loaded; None leaves it to the service.

    A number is in seconds, a string is a duration with a unit, and a negative value means forever.
    Raises `ClientError` in Go's words.
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


def parse_think(value: Any) -> bool | None:
    """Return whether the model should think before it answers; None leaves it to the model."""
    match value:
        case None | bool():
            return value
        case str() if value in _LEVELS:
            return True
        case str():
            raise ClientError(f"invalid think value: {quoted(value)} (must be {_THINK_VALUES})")
        case _:
            raise ClientError(f"think must be a boolean or string ({_THINK_VALUES})")


def parse_format(value: Any) -> AnswerFormat | None:
    """Return the format that an answer must have, if any.

    Raises `UnknownFormat` for values that Ollama rejects.
    """
    match value:
        case None | "":
            return None
        case "json":
            return "json"
        case dict():
            return value
    given = quoted(compact(value).decode())
    raise UnknownFormat(f'invalid format: {given}; expected "json" or a valid JSON Schema object')


def check_logprobs(fields: Fields) -> None:
    """Check the fields that ask for probabilities, which the vendor's program does not report."""
    fields.boolean("logprobs")
    if not 0 <= fields.integer("top_logprobs") <= 20:
        raise ClientError("top_logprobs must be between 0 and 20")
