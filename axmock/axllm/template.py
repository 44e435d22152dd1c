"""The chat template inside the program, for the ChatML models."""

from __future__ import annotations

from collections.abc import Sequence


def render(turns: Sequence[tuple[str, str]], thinking: str) -> str:
    """Return the prompt that the model reads."""
    prompt = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)
    closed = "<think>\n\n</think>\n\n" if thinking == "no_think" else ""
    return f"{prompt}<|im_start|>assistant\n{closed}"
