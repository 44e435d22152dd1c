"""A service whose simulated model gives the answers that a test sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.service import Service

NO_THOUGHT = "<think>\n\n</think>\n\n"


@dataclass(frozen=True)
class Scripted:
    """`closes_thoughts` is for `axllm`, which takes an answer without marks for a thought."""

    service: Service
    file: Path
    closes_thoughts: bool = False

    def says(self, text: str) -> None:
        """Set the model's next answers, whatever the question."""
        closed = self.closes_thoughts and "<think>" not in text
        self.file.write_text(NO_THOUGHT + text if closed else text)


def tool_call(city: str) -> str:
    """Return a model's call of the weather tool."""
    return f'<tool_call>\n{{"name": "weather", "arguments": {{"city": "{city}"}}}}\n</tool_call>'
