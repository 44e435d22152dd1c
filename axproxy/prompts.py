"""Conversations to prompts, by what the tokenizer says of its model."""

from __future__ import annotations

from collections.abc import Sequence

from axproxy.chat_template import ChatTemplate
from axproxy.control_tokens import Shield
from axproxy.errors import PromptTooLong
from axproxy.fitting import Prompt, fit
from axproxy.json_form import instructed
from axproxy.messages import ChatRequest, Message
from axproxy.tokenizer_client import TokenizerClient, TokenizerInfo


class Prompts:
    """`end_tokens` are the ids that end an answer, for no control token belongs in one; `turn_ends`
    are their texts, which nothing that a client writes can contain."""

    def __init__(self, tokenizer: TokenizerClient, info: TokenizerInfo) -> None:
        special = [token for token in info.control_tokens if token.special]
        self._template = ChatTemplate(
            info.chat_template,
            Shield(token.text for token in info.control_tokens),
            Shield(token.text for token in special),
            bos_token=info.bos_token or "",
            eos_token=info.eos_token,
        )
        self._tokenizer = tokenizer
        self._longest_token = max(info.longest_token_bytes, 1)
        self.end_tokens = frozenset({info.eos_id, *(token.id for token in special)})
        self.turn_ends = (info.eos_token, *(token.text for token in special))

    def fitted(self, request: ChatRequest, limit: int) -> Prompt:
        """The request's prompt in at most `limit` tokens.

        Raises `PromptTooLong`, `ClientError` for a conversation the model's template refuses, and
        `TokenizerGone`.
        """
        if request.format is None or request.raw:
            return self._fitted(request, request.messages, limit)
        try:
            return self._fitted(request, instructed(request.messages, request.format), limit)
        except (PromptTooLong, RecursionError):  # no schema is worth the question
            return self._fitted(request, instructed(request.messages, "json"), limit)

    def _fitted(self, request: ChatRequest, messages: Sequence[Message], limit: int) -> Prompt:

        # Templates ask whether there are tools at all: an empty list would still begin a section.
        variables = {"tools": request.tools or None, "enable_thinking": bool(request.think)}

        def render(messages: Sequence[Message]) -> str:
            if request.raw:
                return self._template.raw(messages[-1].content)
            return self._template.render(messages, variables)

        def count(text: str) -> int:
            # A text this long cannot fit whatever its tokens are, so nobody needs to find them.
            at_least = len(text.encode()) // self._longest_token
            return at_least if at_least > limit else self._tokenizer.count(text)

        return fit(messages, limit, render, count)
