"""The resident model as Ollama lists and counts it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from axproxy.api.ollama.replies import stamp
from axproxy.engine.protocol import Loaded
from axproxy.models.model import Model

# The longest time Go can count, which Ollama's command line prints as "Forever".
_FOREVER = timedelta(days=106_751)


def listed(model: Model) -> dict[str, Any]:
    """An entry of `/api/tags`; a length that nobody knows is Go's zero."""
    lengths = {
        "context_length": model.context_length or 0,
        "embedding_length": model.embedding_length or 0,
    }
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": stamp(model.modified_at),
        "size": model.size,
        "digest": model.digest,
        "details": details(model) | lengths,
        "capabilities": list(model.capabilities),
    }


def running(loaded: Loaded, now: datetime) -> dict[str, Any]:
    """Return an entry of `/api/ps`; the whole model is in the card's memory."""
    model = loaded.model
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size,
        "digest": model.digest,
        "details": details(model),
        "expires_at": stamp(loaded.expires_at or now + _FOREVER),
        "size_vram": model.size,
        "context_length": model.context_length or 0,
    }


def details(model: Model) -> dict[str, Any]:
    """The six keys that strict clients want to be there, all of them."""
    return {
        "parent_model": "",
        "format": "axmodel",
        "family": model.family,
        "families": [model.family],
        "parameter_size": model.parameter_size,
        "quantization_level": model.quantization,
    }
