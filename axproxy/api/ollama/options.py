"""Ollama's `options`: the ones that the card can follow, and the types of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from axproxy.api.gojson.decode import well_formed
from axproxy.errors import OptionOfWrongType
from axproxy.messages import Limits, Sampling

_LARGEST_TOP_K = 2**31 - 1  # the vendor's program keeps it in 32 bits


@dataclass(frozen=True)
class _Type:
    name: str  # as Go calls it
    accepts: tuple[type, ...]
    read: Callable[[Any], Any]

    def takes(self, value: Any) -> bool:
        # To Python a bool is a number, to JSON it is not.
        return isinstance(value, self.accepts) and isinstance(value, bool) == (self.read is bool)


_FLOAT = _Type("float32", (int, float), float)
_WHOLE = _Type("integer", (int, float), int)
_SWITCH = _Type("boolean", (bool,), bool)
_STRINGS = _Type("array", (list,), tuple)

TYPES = {
    "temperature": _FLOAT,
    "top_k": _WHOLE,
    "top_p": _FLOAT,
    "repeat_penalty": _FLOAT,
    "num_predict": _WHOLE,
    "stop": _STRINGS,
    # Checked and then ignored: the window is compiled into the model, the rest the card has not.
    **dict.fromkeys(("min_p", "typical_p", "presence_penalty", "frequency_penalty"), _FLOAT),
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread"), _WHOLE),
    **dict.fromkeys(("draft_num_predict", "num_keep", "repeat_last_n", "seed"), _WHOLE),
    "use_mmap": _SWITCH,
}


def parse_options(options: Mapping[str, Any]) -> tuple[Sampling, Limits]:
    """What the request's `options` ask for; unknown ones are ignored, as is `null`.

    Values outside a range mean its nearest end, as in Ollama's sampler.  Only a `num_predict`
    above zero limits the answer, as in Ollama's runner.  Raises `OptionOfWrongType`.
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
    )
    most = values.get("num_predict", -1)
    return sampling, Limits(max_tokens=most if most > 0 else None, stop=values.get("stop", ()))


def _read(type_: _Type, name: str, value: Any) -> Any:
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
