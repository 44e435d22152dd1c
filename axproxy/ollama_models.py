"""The resident model as Ollama lists, shows and counts it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from axproxy.engine import ModelCard
from axproxy.ollama_replies import stamp

# The longest time Go can count, which Ollama's command line prints as "Forever".
_FOREVER = timedelta(days=106_751)
_CAPABILITIES = ("completion",)


def listed(card: ModelCard) -> dict[str, Any]:
    """An entry of `/api/tags`; a length that nobody knows is Go's zero."""
    details = _details(card)
    details["context_length"] = card.context_length or 0
    details["embedding_length"] = 0
    return {
        "name": card.name,
        "model": card.name,
        "modified_at": stamp(card.modified_at),
        "size": card.size,
        "digest": card.digest,
        "details": details,
        "capabilities": list(_CAPABILITIES),
    }


def loaded(card: ModelCard, now: datetime) -> dict[str, Any]:
    """An entry of `/api/ps`; all of the model lies in the card's memory."""
    return {
        "name": card.name,
        "model": card.name,
        "size": card.size,
        "digest": card.digest,
        "details": _details(card),
        "expires_at": stamp(now + _FOREVER),
        "size_vram": card.size,
        "context_length": card.context_length or 0,
    }


def shown(card: ModelCard) -> dict[str, Any]:
    """The body of `/api/show`.

    Clients size their prompts by the one key of `model_info` that ends in `context_length`, so it
    is there only once the window is known.
    """
    info: dict[str, Any] = {
        "general.architecture": card.family,
        "general.basename": card.name.partition(":")[0],
    }
    if card.context_length:
        info[f"{card.family}.context_length"] = card.context_length
    return {
        "details": _details(card),
        "model_info": info,
        "capabilities": list(_CAPABILITIES),
        "modified_at": stamp(card.modified_at),
    }


def _details(card: ModelCard) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "axmodel",
        "family": card.family,
        "families": [card.family],
        "parameter_size": card.parameter_size,
        "quantization_level": card.quantization,
    }
