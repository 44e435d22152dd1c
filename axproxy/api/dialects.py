"""The HTTP dialects of the service, and which of them a path belongs to."""

from __future__ import annotations

from typing import Any, Protocol

from flask import Blueprint

from axproxy.api.anthropic.routes import AnthropicDialect
from axproxy.api.native.routes import NativeDialect
from axproxy.api.ollama.routes import OllamaDialect
from axproxy.api.openai.routes import OpenAIDialect
from axproxy.engine.protocol import Engine
from axproxy.errors import ProxyError
from axproxy.models.catalog import Models


class Dialect(Protocol):
    """One API: its routes, and the shape of its errors."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Its paths: each begins with a prefix that ends in "/", or is equal to another."""

    def blueprint(self, engine: Engine, models: Models) -> Blueprint:
        """Make its routes."""

    def error_body(self, error: ProxyError) -> tuple[dict[str, Any], int]:
        """Return the body and the status of the reply to a request that failed.

        It is also called for requests that reach no route, from the server's own threads.
        """


DIALECTS: tuple[Dialect, ...] = (
    AnthropicDialect(),
    OpenAIDialect(),
    OllamaDialect(),
    NativeDialect(),
)


def dialect_of(path: str) -> Dialect:
    """Return the first dialect with a prefix that fits; the last one fits every path."""
    return next(dialect for dialect in DIALECTS if _fits(path, dialect.prefixes))


def _fits(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(
        path.startswith(prefix) if prefix.endswith("/") else path == prefix for prefix in prefixes
    )
