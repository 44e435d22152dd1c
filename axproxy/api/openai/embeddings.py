"""OpenAI's route for embeddings, as Ollama serves it."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from axproxy.api.gojson.decode import EOF, Fields
from axproxy.api.ollama.capabilities import find_for_embedding, require_embeddings
from axproxy.api.ollama.embeddings import EmbedCall, kept, normalised, texts_in
from axproxy.errors import ClientError
from axproxy.messages import Embeddings, EmbedRequest
from axproxy.models.catalog import Models


@dataclass(frozen=True)
class OpenAIEmbedCall:
    """A request for embeddings, and whether the vectors shall be base64 of 32-bit numbers."""

    call: EmbedCall
    as_base64: bool


def parse_embeddings(body: bytes, models: Models) -> OpenAIEmbedCall:
    """Parse `POST /v1/embeddings`; raises `ClientError`."""
    fields = Fields.read("EmbedRequest", body, "openai", EOF)
    given, dimensions = fields.anything("input"), fields.integer("dimensions")
    form = fields.string("encoding_format")
    if given in (None, "", []):
        raise ClientError("invalid input")
    name = fields.string("model")
    model = find_for_embedding(models, name)
    require_embeddings(model, name)
    if form not in ("", "float", "base64"):
        raise ClientError(
            f"Invalid value for 'encoding_format' = {form}. "
            'Supported values: ["float", "base64"].'
        )
    request = EmbedRequest(texts_in(given, "invalid input type"))
    return OpenAIEmbedCall(
        EmbedCall(model, name, request, kept(dimensions, model)), form == "base64"
    )


def embeddings_object(call: OpenAIEmbedCall, found: Embeddings) -> dict[str, Any]:
    """Return the body of the reply."""
    vectors = [normalised(vector, call.call.dimensions) for vector in found.vectors]
    data = [
        {
            "object": "embedding",
            "embedding": packed_floats(vector) if call.as_base64 else vector,
            "index": at,
        }
        for at, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": found.prompt_tokens, "total_tokens": found.prompt_tokens}
    return {"object": "list", "data": data, "model": call.call.requested_name, "usage": usage}


def packed_floats(vector: Sequence[float]) -> str:
    """Return little-endian 32-bit numbers in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
