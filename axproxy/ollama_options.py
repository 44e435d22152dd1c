"""Ollama's `options`: the ones that the card can follow, and the types of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from axproxy.errors import OptionOfWrongType
from axproxy.go_json import well_formed
from axproxy.messages import Limits, Sampling

_FLOAT = "of type float32"
_WHOLE = "of type integer"
_BOOLEAN = "of type boolean"
_STRINGS = "of type array"

TYPES = {
    **dict.fromkeys(("temperature", "top_p", "min_p", "typical_p", "repeat_penalty"), _FLOAT),
    **dict.fromkeys(("presence_penalty", "frequency_penalty"), _FLOAT),
    **dict.fromkeys(("top_k", "num_predict", "repeat_last_n", "seed", "num_keep"), _WHOLE),
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread"), _WHOLE),
    **dict.fromkeys(("draft_num_predict",), _WHOLE),
    "use_mmap": _BOOLEAN,
    "stop": _STRINGS,
}

_LARGEST_TOP_K = 2**31 - 1  # the vendor's program keeps it in 32 bits


def parse_options(options: Mapping[str, Any]) -> tuple[Sampling, Limits]:
    """What the request's `options` ask for; unknown ones are ignored, as is `null`.

    Values outside a range mean its nearest end, as in Ollama's sampler.  Only a `num_predict`
    above zero limits the answer, as in Ollama's runner.  Raises `OptionOfWrongType`.
    """
    values = {name: _checked(name, value) for name, value in options.items() if value is not None}
    temperature, top_p = values.get("temperature"), values.get("top_p")
    top_k, most = values.get("top_k"), values.get("num_predict")
    sampling = Sampling(
        temperature=None if temperature is None else max(temperature, 0.0),
        top_k=None if top_k is None else min(max(top_k, 0), _LARGEST_TOP_K),
        top_p=None if top_p is None else min(max(top_p, 0.0), 1.0),
        repeat_penalty=values.get("repeat_penalty"),
    )
    return sampling, Limits(
        max_tokens=most if most is not None and most > 0 else None,
        stop=tuple(values.get("stop", ())),
    )


def _checked(name: str, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match TYPES.get(name):
        case "of type float32" if number:
            return float(value)
        case "of type integer" if number:
            return int(value)
        case "of type boolean" if isinstance(value, bool):
            return value
        case "of type array" if isinstance(value, list):
            return [_text(name, item) for item in value]
        case None:
            return value
        case wanted:
            raise OptionOfWrongType(f'option "{name}" must be {wanted}')


def _text(name: str, item: Any) -> str:
    if not isinstance(item, str):
        raise OptionOfWrongType(f'option "{name}" must be of an array of strings')
    return well_formed(item)
