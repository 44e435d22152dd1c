"""Parses requests of our own small API: from bytes to the neutral request of all APIs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from axproxy.api.gojson.decode import first_value, quoted, well_formed
from axproxy.api.ollama.capabilities import require_answers
from axproxy.errors import ClientError
from axproxy.messages import SMALLEST_VOCABULARY, ChatRequest, Limits, Message, Sampling
from axproxy.models.catalog import Models
from axproxy.models.model import Model


@dataclass(frozen=True)
class Rule:
    """The values that a field may have; `allowed` completes the sentence "… must be"."""

    allowed: str
    accepts: Callable[[Any], bool]
    read: Callable[[Any], Any]


def _number(accepts: Callable[[float], bool]) -> Callable[[Any], bool]:
    # To Python a bool is a number, to JSON it is not.
    return lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and accepts(value)
    )


def _whole(low: int, high: float) -> Callable[[Any], bool]:
    return _number(lambda value: value == int(value) and low <= value <= high)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(well_formed, [value] if isinstance(value, str) else value))


# What other APIs call our fields.
_OTHER_NAMES = {
    "n_predict": "max_tokens",
    "num_predict": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "max_new_tokens": "max_tokens",
    "max_length": "max_tokens",
    "repeat_penalty": "repetition_penalty",
    "stop_sequences": "stop",
}
_NEAR = 0.75  # how much of two names must be alike: `max_token` and `max-tokens` are
_LONGEST_NAME = 40  # characters
_MOST_NAMES = 50  # unknown names that are compared; each takes some 0.1 ms

_LONGEST_PATH = 4096  # characters; the system's own limit

SESSION_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")

RULES = {
    "prompt": Rule("a string that is not empty", lambda v: _is_text(v) and v != "", well_formed),
    "system": Rule("a string", _is_text, well_formed),
    "max_tokens": Rule("a whole number of at least 1", _whole(1, float("inf")), int),
    "temperature": Rule("a number from 0 to 100", _number(lambda v: 0 <= v <= 100), float),
    "top_p": Rule("a number from 0 to 1", _number(lambda v: 0 <= v <= 1), float),
    "top_k": Rule("a whole number of at least 0", _whole(0, float("inf")), int),
    "repetition_penalty": Rule(
        "a number above 0 and up to 10", _number(lambda v: 0 < v <= 10), float
    ),
    "stop": Rule("a string or a list of strings", lambda v: _is_text(v) or _is_texts(v), _texts),
    "stream": Rule("true or false", lambda v: isinstance(v, bool), bool),
    "session": Rule(
        "a name of at most 64 letters, digits, dots, dashes and underscores",
        lambda v: _is_text(v) and SESSION_NAME.fullmatch(v) is not None,
        str,
    ),
    "model": Rule("a string", _is_text, well_formed),
    "model_path": Rule("a string", _is_text, well_formed),
}


@dataclass(frozen=True)
class GenerateCall:
    """A request of `POST /generate` for an answer of `model`.

    `session` is the name of the conversation that it goes on with; empty where it names none.
    """

    model: Model
    request: ChatRequest
    session: str = ""


def parse_generate(body: bytes, models: Models) -> GenerateCall:
    """Parse `POST /generate`; without `model` it asks for the default model.

    Raises `ClientError`, which names the field and says what is allowed.
    """
    given = _checked(_object(body, example='{"prompt": "Why is the sky blue?"}'))
    if "prompt" not in given:
        raise ClientError(f"prompt is required and must be {RULES['prompt'].allowed}")
    model = _model(given, models)
    require_answers(model, model.name, "generate")
    most = model.vocabulary or SMALLEST_VOCABULARY
    if given.get("top_k", 0) > most:
        raise ClientError(f"top_k must be a whole number from 0 to {most}, the model's vocabulary")
    system = given.get("system")
    before = [Message("system", system)] if system else []
    request = ChatRequest(
        messages=(*before, Message("user", given["prompt"])),
        requested_name=given.get("model", ""),
        sampling=Sampling(
            temperature=given.get("temperature"),
            top_k=given.get("top_k"),
            top_p=given.get("top_p"),
            repeat_penalty=given.get("repetition_penalty"),
        ),
        limits=Limits(max_tokens=given.get("max_tokens"), stop=given.get("stop", ())),
        stream=given.get("stream", False),
        think=False,
    )
    return GenerateCall(model, request, given.get("session", ""))


def parse_load(body: bytes, models: Models) -> Model:
    """Parse `POST /load`: return the model with this name, or the default one.

    Raises `ClientError`, also for a `model_path` that is not the model's folder.
    """
    given = _checked(_object(body, example='{"model_path": "/path/of/the/model"}'))
    model = _model(given, models)
    if (path := given.get("model_path")) and not _same_folder(path, model.folder):
        # The message does not contain the folder: clients need not learn it.
        raise ClientError(
            "model_path is not the folder of the model that is configured; "
            "to use another one, set AX650_MODEL_PATH and restart the service"
        )
    return model


def _model(given: Mapping[str, Any], models: Models) -> Model:
    name = given.get("model")
    return models.find(name) if name else models.default()


def _object(body: bytes, example: str) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        value = first_value(body)
    except ClientError as error:
        raise ClientError(
            f"the body is not JSON: {error.message}; send an object such as {example}"
        ) from error
    if not isinstance(value, dict):
        raise ClientError(f"the body must be a JSON object such as {example}")
    return value


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known fields; `null` is the same as nothing.

    Raises `ClientError` for a wrong value, and for a name that is nearly that of a known field.
    """
    _refuse_misspelt(values)
    known: dict[str, Any] = {}
    for name, rule in RULES.items():
        if (value := values.get(name)) is not None:
            if not rule.accepts(value):
                raise ClientError(f"{name} must be {rule.allowed}")
            known[name] = rule.read(value)
    return known


def _refuse_misspelt(values: Mapping[str, Any]) -> None:
    """Refuse fields that a person or a script has meant as one of ours.  Raises `ClientError`.

    Without it a request would silently be obeyed without them.  Other unknown fields are ignored.
    """
    unknown = (name for name in values if name not in RULES and values[name] is not None)
    for name in islice(unknown, _MOST_NAMES):
        plain = name[:_LONGEST_NAME].lower()
        near = get_close_matches(plain, RULES, n=1, cutoff=_NEAR)
        if meant := _OTHER_NAMES.get(plain) or next(iter(near), None):
            raise ClientError(
                f"unknown field {quoted(name[:_LONGEST_NAME])}; did you mean {meant}?"
            )


def _same_folder(given: str, folder: Path | None) -> bool:
    # Resolving looks at every part of the path, so a path of a megabyte is refused before.
    if folder is None or "\0" in given or len(given) > _LONGEST_PATH:
        return False
    return os.path.realpath(given) == os.path.realpath(folder)
