"""Engines on main_api's runtime, as `backend.py` builds them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from axproxy.engine.engine import SerialEngine
from axproxy.engine.protocol import EngineOptions
from axproxy.engine.runtime import Timeouts
from axproxy.models.description import describe_model
from axproxy.prompts.renderer import TemplateRenderer
from axproxy.runtimes.main_api.client import RuntimeClient
from axproxy.runtimes.main_api.prepared import PreparedPrompt
from axproxy.runtimes.main_api.runtime import MainApiRuntime
from axproxy.settings import Settings
from axproxy.tokenizer.choice import choose_tokenizer


def engine_on(
    settings: Settings,
    supervisor: Any,
    *,
    tokenizer: Any = None,
    connect: Callable[[], Any] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> SerialEngine[PreparedPrompt]:
    """Return an engine whose supervisor is given; its clients are real ones by default."""
    client = tokenizer or choose_tokenizer(settings).client()
    runtime = MainApiRuntime(
        supervisor,
        getattr(supervisor, "recipe", supervisor),
        client,
        connect or (lambda: RuntimeClient(settings.runtime_url)),
        lambda: TemplateRenderer(client, client.info()),
        timeouts=Timeouts(stall=settings.stall_timeout),
    )
    options = EngineOptions(
        max_queue=settings.max_queue,
        keep_alive=settings.keep_alive,
        warm_prompt=settings.warm_prompt == "on",
        think=settings.think != "off",
    )
    return SerialEngine(runtime, supervisor, describe_model(settings), options, clock)
