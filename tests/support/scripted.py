"""A service whose simulated model says what a test tells it to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.service import Service


@dataclass(frozen=True)
class Scripted:
    service: Service
    file: Path

    def says(self, text: str) -> None:
        """The model's next answers, to whatever it is asked."""
        self.file.write_text(text)


def tool_call(city: str) -> str:
    """How a model asks for the weather."""
    return f'<tool_call>\n{{"name": "weather", "arguments": {{"city": "{city}"}}}}\n</tool_call>'
