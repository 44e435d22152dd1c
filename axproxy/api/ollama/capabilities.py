"""What a model can do, and Ollama's words where it cannot.

`asked_as` is the model's name in the request.  Everything here raises `ClientError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from axproxy.api.gojson.decode import quoted
from axproxy.api.ollama.names import full_name, require
from axproxy.engine.protocol import ModelCard
from axproxy.errors import ClientError, UnknownModel


def require_all(
    card: ModelCard,
    asked_as: str,
    *,
    think: bool | None,
    tools: Sequence[object],
    media: Sequence[str],
) -> None:
    """That the model is here, and can do what a conversation asks of it."""
    require(asked_as, card.name)
    if think:
        require_thinking(card, asked_as)
    if tools:
        require_tools(card)
    refuse_media(media, asked_as)


def require_thinking(card: ModelCard, asked_as: str) -> None:
    if "thinking" not in card.capabilities:
        raise _lacks(asked_as, "thinking")


def require_tools(card: ModelCard) -> None:
    if "tools" not in card.capabilities:
        raise ClientError(f"{full_name(card.name)} does not support tools")


def refuse_insert(card: ModelCard) -> NoReturn:
    raise ClientError(f"{full_name(card.name)} does not support insert")


def refuse_media(kinds: Sequence[str], asked_as: str) -> None:
    """Refuses the first of the `kinds`: `images`, `audio`."""
    if kinds:
        raise _lacks(asked_as, kinds[0])


def require_for_embedding(asked_as: str, resident: str) -> None:
    try:
        require(asked_as, resident)
    except UnknownModel as error:
        raise UnknownModel(f"model {quoted(asked_as)} not found, try pulling it first") from error


def refuse_embedding(asked_as: str) -> NoReturn:
    raise _lacks(asked_as, "embeddings")


def _lacks(asked_as: str, what: str) -> ClientError:
    return ClientError(f"{quoted(asked_as)} does not support {what}")
