"""A service whose simulated model gives the answers that a test sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.service import Service

NO_THOUGHT = "<think>\n\n</think>\n\n"


@dataclass(frozen=True)
class Scripted:
    """`write` sets what the model writes next; `runtime` is the one behind the service."""

    service: Service
    write: Callable[[str], object]
    runtime: str

    def says(self, text: str) -> None:
        """Set the model's next answers, whatever the question."""
        # axllm takes an answer without marks for a thought.
        closed = self.runtime == "mock-axllm" and "<think>" not in text
        self.write(NO_THOUGHT + text if closed else text)


def tool_call(city: str) -> str:
    """Return a model's call of the weather tool."""
    return f'<tool_call>\n{{"name": "weather", "arguments": {{"city": "{city}"}}}}\n</tool_call>'
