"""Renders requests to prompts, with the model's chat template."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Protocol

from axproxy.control_tokens import Escaper
from axproxy.errors import PromptTooLong
from axproxy.messages import ChatRequest, Message
from axproxy.output import thinking, tool_calls
from axproxy.output.json_format import with_instruction
from axproxy.prompts.fitting import Prompt, Window, fit, trim_target
from axproxy.prompts.template import ChatTemplate
from axproxy.prompts.tokenizer import Tokenizer, TokenizerInfo

_QUESTION = "a-question-in-no-conversation"


class PromptRenderer(Protocol):
    """Renders requests to prompts, for one model and its tokenizer."""

    @property
    def end_tokens(self) -> frozenset[int]:
        """Ids of control tokens that end an answer."""

    @property
    def turn_ends(self) -> tuple[str, ...]:
        """Texts of control tokens that end a turn; escaped client text never contains them."""

    def render(self, request: ChatRequest, window: Window) -> Prompt:
        """Return the request's prompt, short enough for the runtime to read or to refuse.

        Raises `PromptTooLong`, `ClientError` and `TokenizerGone`.
        """

    def beginning(self, request: ChatRequest) -> Prompt | None:
        """Return what the prompts of requests like this one begin with, whatever the question.

        `None` where that is nothing or not known.  Raises as `render` does.
        """


def render_with_format(
    request: ChatRequest, render: Callable[[Sequence[Message]], Prompt]
) -> Prompt:
    """Render the request's messages, with the answer's format stated in the system prompt."""
    if request.format is None or request.raw:
        return render(request.messages)
    try:
        return render(with_instruction(request.messages, request.format))
    except (PromptTooLong, RecursionError):  # the question matters more than the schema
        return render(with_instruction(request.messages, "json"))


class TemplateRenderer:
    """Renders with the chat template that the built-in tokenizer reports for its model."""

    def __init__(self, tokenizer: Tokenizer, info: TokenizerInfo) -> None:
        # Some models mark these as special too, and still go on after them.
        own = {thinking.OPEN, thinking.CLOSE, tool_calls.OPEN, tool_calls.CLOSE}
        special = [
            token for token in info.control_tokens if token.special and token.text not in own
        ]
        self._template = ChatTemplate(
            info.chat_template,
            Escaper(token.text for token in info.control_tokens),
            Escaper(token.text for token in special),
            bos_token=info.bos_token or "",
            eos_token=info.eos_token,
        )
        self._tokenizer = tokenizer
        self._longest_token = max(info.longest_token_bytes, 1)
        self.end_tokens = frozenset({info.eos_id, *(token.id for token in special)})
        self.turn_ends = (info.eos_token, *(token.text for token in special))

    def render(self, request: ChatRequest, window: Window) -> Prompt:
        """Return the request's prompt, in no more tokens than fit an empty cache.

        Raises `PromptTooLong`, `ClientError` for a conversation that the model's template refuses,
        and `TokenizerGone`.
        """
        return render_with_format(request, lambda messages: self._render(request, messages, window))

    def beginning(self, request: ChatRequest) -> Prompt | None:
        """Return the beginning that such prompts share: the system prompt and the tools."""
        before = tuple(takewhile(lambda turn: turn.role == "system", request.messages))
        if request.raw or request.context or request.format is not None:
            return None
        if not (before or request.tools):
            return None
        turns = (*before, Message("user", _QUESTION))
        text, _, _ = self._template.render(turns, self._variables(request)).partition(_QUESTION)
        # The turn of the question stays out: the rest of a prompt begins at its first token.
        text = text[: max(0, *(text.rfind(end) for end in self.turn_ends))]
        return Prompt(text, self._tokenizer.count(text)) if text else None

    def _variables(self, request: ChatRequest) -> dict[str, Any]:
        # Some templates only test whether tools are defined: an empty list would begin a section.
        return {"tools": request.tools or None, "enable_thinking": bool(request.think)}

    def _render(self, request: ChatRequest, messages: Sequence[Message], window: Window) -> Prompt:
        variables, limit = self._variables(request), window.prefill_limit

        def render(messages: Sequence[Message]) -> str:
            if request.raw:
                return self._template.raw(messages[-1].content)
            return self._template.render(messages, variables)

        def count(text: str) -> int:
            # A text this long cannot fit whatever its tokens are; encoding it would waste time.
            at_least = len(text.encode()) // self._longest_token
            return at_least if at_least > limit else self._tokenizer.count(text)

        if request.context:
            prompt = self._after_context(request.context, messages, variables, limit)
            if prompt:
                return prompt
        return fit(messages, limit, render, count, lambda tokens: trim_target(tokens, window))

    def _after_context(
        self,
        context: Sequence[int],
        messages: Sequence[Message],
        variables: Mapping[str, Any],
        limit: int,
    ) -> Prompt | None:
        """Return the earlier tokens and the messages as one prompt, `None` where it is too long.

        Then the context goes, as the oldest turns of a conversation do.
        """
        if len(context) >= limit:
            return None
        text = self._tokenizer.detokenize(context) + self._template.follow_up(messages, variables)
        prompt = Prompt(text, self._tokenizer.count(text))
        return prompt if prompt.tokens <= limit else None
