"""A service whose simulated model gives the answers that a test sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.service import Service


@dataclass(frozen=True)
class Scripted:
    service: Service
    file: Path

    def says(self, text: str) -> None:
        """Set the model's next answers, whatever the question."""
        self.file.write_text(text)


def tool_call(city: str) -> str:
    """Return a model's call of the weather tool."""
    return f'<tool_call>\n{{"name": "weather", "arguments": {{"city": "{city}"}}}}\n</tool_call>'
