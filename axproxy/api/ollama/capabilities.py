"""The model that a request asks for, what it can do, and Ollama's words where it cannot.

`requested_name` is the model's name in the request.  Everything here raises `ClientError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from axproxy.api.gojson.decode import quoted
from axproxy.errors import ClientError, UnknownModel
from axproxy.models.catalog import Models
from axproxy.models.model import Model
from axproxy.models.names import CloudModel, full_name, local_name, short_name


def find_for_details(models: Models, requested_name: str) -> Model:
    """Find the model for a route that describes it; its errors then have other words."""
    try:
        return models.find(requested_name)
    except CloudModel as error:
        message = "ollama cloud is disabled: remote model details are unavailable"
        raise CloudModel(message) from error
    except UnknownModel as error:
        short = short_name(local_name(requested_name))
        raise UnknownModel(f"model '{short}' not found", error.here) from error


def find_for_embedding(models: Models, requested_name: str) -> Model:
    try:
        return models.find(requested_name)
    except UnknownModel as error:
        message = f"model {quoted(requested_name)} not found, try pulling it first"
        raise UnknownModel(message, error.here) from error


def require_all(
    model: Model,
    requested_name: str,
    *,
    think: bool | None,
    tools: Sequence[object],
    media: Sequence[str],
) -> None:
    """Require all that a conversation asks of the model."""
    if think:
        require_thinking(model, requested_name)
    if tools:
        require_tools(model)
    require_media(model, media, requested_name)


def require_thinking(model: Model, requested_name: str) -> None:
    if "thinking" not in model.capabilities:
        raise _lacks(requested_name, "thinking")


def require_tools(model: Model) -> None:
    if "tools" not in model.capabilities:
        raise ClientError(f"{full_name(model.name)} does not support tools")


def refuse_insert(model: Model) -> NoReturn:
    raise ClientError(f"{full_name(model.name)} does not support insert")


def require_media(model: Model, kinds: Sequence[str], requested_name: str) -> None:
    """Refuse the first of the `kinds` that the model cannot take: `images`, `audio`."""
    for kind in kinds:
        if kind != "images" or "vision" not in model.capabilities:
            raise _lacks(requested_name, kind)


def require_answers(model: Model, requested_name: str, what: str) -> None:
    """Require that the model answers; `what` is how Ollama calls that: `chat`, `generate`."""
    if "completion" not in model.capabilities:
        raise _lacks(requested_name, what)


def require_embeddings(model: Model, requested_name: str) -> None:
    if "embedding" not in model.capabilities:
        raise _lacks(requested_name, "embeddings")


def _lacks(requested_name: str, what: str) -> ClientError:
    return ClientError(f"{quoted(requested_name)} does not support {what}")
