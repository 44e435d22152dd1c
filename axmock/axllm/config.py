"""Reads the model's `config.json` as the program does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_REQUIRED = (
    "template_filename_axmodel",
    "filename_post_axmodel",
    "url_tokenizer_model",
    "tokenizer_type",
    "filename_tokens_embed",
    "axmodel_num",
    "tokens_embed_num",
    "tokens_embed_size",
    "model_name",
)


class BadConfig(Exception):
    """The program logs these lines and goes on with built-in names, which fails later."""

    def __init__(self, *lines: str) -> None:
        super().__init__(lines[0])
        self.lines = lines


@dataclass(frozen=True)
class Config:
    """What the simulator needs of it."""

    folder: Path
    model_name: str
    vocabulary: Path
    is_embedding: bool
    sees: bool
    embedding_size: int
    port: int
    timeout_ms: int
    thinking_mode: str
    max_output: int | None
    default_output: int | None

    @classmethod
    def read(cls, folder: Path) -> Config:
        """Raises `BadConfig`."""
        file = folder / "config.json"
        failed = (f"Failed to load config from: {file}", "Using default configuration")
        try:
            content: Any = json.loads(file.read_text())
        except OSError as error:
            raise BadConfig(f"Config file not found: {file}", *failed) from error
        except ValueError as error:
            raise BadConfig(f"Failed to parse config file: {file}", *failed) from error
        entries = content if isinstance(content, dict) else {}
        for key in _REQUIRED:
            if key not in entries:
                raise BadConfig(f"Key not found: {key}", *failed)
        thinking = entries.get("thinking_mode")
        if isinstance(entries.get("enable_thinking"), bool):
            thinking = "think" if entries["enable_thinking"] else "no_think"
        return cls(
            folder=folder,
            model_name=str(entries["model_name"]),
            vocabulary=folder / str(entries["url_tokenizer_model"]),
            is_embedding=bool(entries.get("is_embedding") or entries.get("embedding")),
            sees=bool(entries.get("vlm_type") or entries.get("filename_image_encoder_axmodel")),
            embedding_size=int(entries["tokens_embed_size"]),
            port=int(entries.get("port", 8000)),
            timeout_ms=int(entries.get("server_timeout_ms", 300_000)),
            thinking_mode=str(thinking or "default"),
            max_output=entries.get("server_max_output_tokens"),
            default_output=entries.get("server_default_max_tokens"),
        )
