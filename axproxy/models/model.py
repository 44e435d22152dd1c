"""A model as the service knows it: a value, made once from its folder and its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from axproxy.messages import Message

RuntimeName = Literal["main_api", "axllm", "axengine"]  # a package in `runtimes`


@dataclass(frozen=True)
class ModelDefaults:
    """What a model adds to a request that does not say it itself.

    `parameters` have the names of Ollama's options; `messages` come before those of the request.
    `keep_alive` is in seconds; None, and `think` with None, leave it to the service.
    """

    system: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    license: tuple[str, ...] = ()
    keep_alive: float | None = None
    think: bool | None = None


@dataclass(frozen=True)
class Model:
    """A model that clients can ask for.

    `folder` is None for the simulator's model, `tokenizer` where the folder has none or several
    that fit equally well.  `size` is in bytes on disk; `digest` is 64 hex digits that stay the same
    over restarts; `context_length` is in tokens, None where it is not known before the first load.
    `layers`, `embedding_length` and `vocabulary` (its size) are None where the folder does not say.
    `capabilities` have Ollama's names.  A derived model has the files of the model that `base`
    names, `defaults` of its own, and `parent`, the model that it was made from.
    """

    name: str
    folder: Path | None
    family: str
    parameter_size: str
    quantization: str
    size: int
    digest: str
    modified_at: datetime
    context_length: int | None = None
    layers: int | None = None
    embedding_length: int | None = None
    vocabulary: int | None = None
    capabilities: tuple[str, ...] = ("completion",)
    runtime: RuntimeName = "main_api"
    tokenizer: Path | None = None
    defaults: ModelDefaults = field(default_factory=ModelDefaults)
    parent: str = ""
    base: str = ""
