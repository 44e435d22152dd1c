"""What a model adds to a request of any API: its system prompt, its parameters, its messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import request

from axproxy.api.http.disconnect import gone_check
from axproxy.api.http.requests import with_client
from axproxy.api.ollama.options import parse_options
from axproxy.engine.protocol import Answer, Engine
from axproxy.messages import ChatRequest, Limits, Message, Sampling
from axproxy.models.model import Model, ModelDefaults
from axproxy.ops.request_log import current_record


def begin_answer(engine: Engine, model: Model, chat: ChatRequest) -> Answer:
    """Have the engine answer the present request; raises as `Engine.answer` does."""
    current_record().model = model.name
    chat = with_client(with_defaults(model, chat))
    return engine.answer(model, chat, gone_check(request.environ))


def with_defaults(model: Model, chat: ChatRequest) -> ChatRequest:
    """Return the request with what the model says where the request does not.

    As in Ollama, the model's system prompt gives way to one at the beginning of the request, and
    its messages come between the two.  A request that goes on from a `context` has them in that.
    """
    defaults = model.defaults
    if defaults == _NONE:
        return chat
    sampling, limits = parse_options(defaults.parameters)
    chat = replace(
        chat,
        sampling=Sampling(
            *(_first(getattr(chat.sampling, name), getattr(sampling, name)) for name in _SAMPLING)
        ),
        keep_alive=_first(chat.keep_alive, defaults.keep_alive),
        think=_first(chat.think, defaults.think),
        limits=Limits(
            _first(chat.limits.max_tokens, limits.max_tokens), chat.limits.stop or limits.stop
        ),
    )
    if chat.raw:
        return chat
    messages = chat.messages
    system = messages[:1] if messages and messages[0].role == "system" else ()
    own = (Message("system", defaults.system),) if defaults.system else ()
    before = () if chat.context else defaults.messages
    return replace(chat, messages=(*(system or own), *before, *messages[len(system) :]))


_NONE = ModelDefaults()
_SAMPLING = tuple(Sampling.__dataclass_fields__)


def _first(asked: Any, default: Any) -> Any:
    return default if asked is None else asked
