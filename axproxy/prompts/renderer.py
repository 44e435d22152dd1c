"""Conversations to prompts, by what the tokenizer says of its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Protocol

from axproxy.control_tokens import Escaper
from axproxy.errors import PromptTooLong
from axproxy.messages import ChatRequest, Message
from axproxy.output import thinking, tool_calls
from axproxy.output.json_format import instructed
from axproxy.prompts.fitting import Prompt, Window, fit, steady
from axproxy.prompts.template import ChatTemplate
from axproxy.prompts.tokenizer import Tokenizer, TokenizerInfo

_QUESTION = "a-question-that-nobody-asked"


class PromptRenderer(Protocol):
    """Makes prompts of requests, for one model and its tokenizer."""

    @property
    def end_tokens(self) -> frozenset[int]:
        """Ids that end an answer, for no control token belongs in one."""

    @property
    def turn_ends(self) -> tuple[str, ...]:
        """Texts of control tokens, which nothing that a client writes can contain."""

    def render(self, request: ChatRequest, window: Window) -> Prompt:
        """The request's prompt, short enough for the runtime to read or to refuse.  Raises
        `PromptTooLong`, `ClientError` and `TokenizerGone`."""

    def beginning(self, request: ChatRequest) -> Prompt | None:
        """What the prompts of requests like this one begin with, whatever is asked; `None` where
        that is nothing, or not known."""


def with_format_instruction(
    request: ChatRequest, fitted: Callable[[Sequence[Message]], Prompt]
) -> Prompt:
    """What `fitted` makes of the request's messages, after the form of the answer was put in."""
    if request.format is None or request.raw:
        return fitted(request.messages)
    try:
        return fitted(instructed(request.messages, request.format))
    except (PromptTooLong, RecursionError):  # no schema is worth the question
        return fitted(instructed(request.messages, "json"))


class TemplateRenderer:
    """`end_tokens` are the ids that end an answer, for no control token belongs in one; `turn_ends`
    are their texts, which nothing that a client writes can contain."""

    def __init__(self, tokenizer: Tokenizer, info: TokenizerInfo) -> None:
        # Some models mark these as special, too, and still mean to go on after them.
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
        """The request's prompt in no more tokens than fit an empty cache.

        Raises `PromptTooLong`, `ClientError` for a conversation the model's template refuses, and
        `TokenizerGone`.
        """
        return with_format_instruction(
            request, lambda messages: self._fitted(request, messages, window)
        )

    def beginning(self, request: ChatRequest) -> Prompt | None:
        """What the prompts of requests like this one begin with, whatever is asked: the system's
        words and the tools.  `None` where that is nothing, or not known."""
        before = tuple(takewhile(lambda turn: turn.role == "system", request.messages))
        if request.raw or request.context or request.format is not None:
            return None
        if not (before or request.tools):
            return None
        turns = (*before, Message("user", _QUESTION))
        text, _, _ = self._template.render(turns, self._variables(request)).partition(_QUESTION)
        # The question's own turn stays out: its first token is where the rest of a prompt begins.
        text = text[: max(0, *(text.rfind(end) for end in self.turn_ends))]
        return Prompt(text, self._tokenizer.count(text)) if text else None

    def _variables(self, request: ChatRequest) -> dict[str, Any]:
        # Templates ask whether there are tools at all: an empty list would still begin a section.
        return {"tools": request.tools or None, "enable_thinking": bool(request.think)}

    def _fitted(self, request: ChatRequest, messages: Sequence[Message], window: Window) -> Prompt:
        variables, limit = self._variables(request), window.prefill_limit

        def render(messages: Sequence[Message]) -> str:
            if request.raw:
                return self._template.raw(messages[-1].content)
            return self._template.render(messages, variables)

        def count(text: str) -> int:
            # A text this long cannot fit whatever its tokens are, so nobody needs to find them.
            at_least = len(text.encode()) // self._longest_token
            return at_least if at_least > limit else self._tokenizer.count(text)

        if request.context:
            prompt = self._after_context(request.context, messages, variables, limit)
            if prompt:
                return prompt
        return fit(messages, limit, render, count, lambda tokens: steady(tokens, window))

    def _after_context(
        self,
        context: Sequence[int],
        messages: Sequence[Message],
        variables: Mapping[str, Any],
        limit: int,
    ) -> Prompt | None:
        """The messages behind an earlier answer; `None` where both together are too long, for then
        the older part goes, as it does in a conversation."""
        if len(context) >= limit:
            return None
        text = self._tokenizer.detokenize(context) + self._template.follow_up(messages, variables)
        prompt = Prompt(text, self._tokenizer.count(text))
        return prompt if prompt.tokens <= limit else None
