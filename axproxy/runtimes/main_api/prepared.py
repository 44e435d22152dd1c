"""A request in the form that `main_api` reads."""

from __future__ import annotations

from dataclasses import dataclass

from axproxy.control_tokens import ESCAPE
from axproxy.messages import ChatRequest
from axproxy.output.reader import inside_thinking, thinking_closed
from axproxy.prompts.fitting import Prompt


@dataclass(frozen=True)
class PreparedPrompt:
    """A request as one text; `prepared_at` is on the runtime's clock."""

    request: ChatRequest
    prompt: Prompt
    prepared_at: float

    @property
    def inside_thinking(self) -> bool:
        return inside_thinking(self.prompt.text)

    @property
    def thinking_closed(self) -> bool:
        return thinking_closed(self.prompt.text)

    @property
    def prompt_tokens(self) -> int:
        return self.prompt.tokens

    @property
    def prompt_text(self) -> str:
        system = f"{self.prompt.system}\n" if self.prompt.system else ""
        return system + self.prompt.text.replace(ESCAPE, "")
