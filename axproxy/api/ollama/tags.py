"""The resident model as Ollama lists and counts it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from axproxy.api.ollama.replies import stamp
from axproxy.engine.protocol import Loaded, ModelCard

# The longest time Go can count, which Ollama's command line prints as "Forever".
_FOREVER = timedelta(days=106_751)


def listed(card: ModelCard) -> dict[str, Any]:
    """An entry of `/api/tags`; a length that nobody knows is Go's zero."""
    lengths = {
        "context_length": card.context_length or 0,
        "embedding_length": card.embedding_length or 0,
    }
    return {
        "name": card.name,
        "model": card.name,
        "modified_at": stamp(card.modified_at),
        "size": card.size,
        "digest": card.digest,
        "details": details(card) | lengths,
        "capabilities": list(card.capabilities),
    }


def running(card: ModelCard, loaded: Loaded, now: datetime) -> dict[str, Any]:
    """An entry of `/api/ps`; all of the model lies in the card's memory."""
    return {
        "name": card.name,
        "model": card.name,
        "size": card.size,
        "digest": card.digest,
        "details": details(card),
        "expires_at": stamp(loaded.expires_at or now + _FOREVER),
        "size_vram": card.size,
        "context_length": card.context_length or 0,
    }


def details(card: ModelCard) -> dict[str, Any]:
    """The six keys that strict clients want to be there, all of them."""
    return {
        "parent_model": "",
        "format": "axmodel",
        "family": card.family,
        "families": [card.family],
        "parameter_size": card.parameter_size,
        "quantization_level": card.quantization,
    }
