"""Renders requests to prompts, with the model's chat template."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any, Protocol

from axproxy.control_tokens import ESCAPE, Escaper, without_surrogates
from axproxy.errors import ClientGone, PromptTooLong
from axproxy.messages import ChatRequest, Message, Truncation
from axproxy.output import thinking, tool_calls
from axproxy.output.instructions import with_call_instruction
from axproxy.output.json_format import with_instruction
from axproxy.prompts.fitting import Prompt, Window, fit, trim_target
from axproxy.prompts.template import ChatTemplate
from axproxy.prompts.tokenizer import Tokenizer, TokenizerInfo

Gone = Callable[[], bool]  # True once the client has hung up

_QUESTION = "a-question-in-no-conversation"


def still_there() -> bool:
    """Stand for a client that waits for its answer."""
    return False


class PromptRenderer(Protocol):
    """Renders requests to prompts, for one model and its tokenizer."""

    @property
    def end_tokens(self) -> frozenset[int]:
        """Ids of control tokens that end an answer."""

    @property
    def turn_ends(self) -> tuple[str, ...]:
        """Texts of control tokens that end a turn; escaped client text never contains them."""

    def render(self, request: ChatRequest, window: Window, gone: Gone = still_there) -> Prompt:
        """Return the request's prompt, short enough for the runtime to read or to refuse.

        Raises `PromptTooLong`, `ClientError` and `TokenizerGone`, and `ClientGone` once `gone()`.
        """

    def beginning(self, request: ChatRequest) -> Prompt | None:
        """Return what the prompts of requests like this one begin with, whatever the question.

        `None` where that is nothing or not known.  Raises as `render` does.
        """


def render_with_format(
    request: ChatRequest, render: Callable[[Sequence[Message], Truncation], Prompt]
) -> Prompt:
    """Render the request's messages, with the answer's format stated in the system prompt.

    The question matters more than instructions: its text is cut only where it would be too long
    with the shortest of them, too.
    """
    forms = [*_instructed(request)]
    tries = [(form, request.truncate) for form in forms]
    if request.truncate == "text" and len(forms) > 1:
        tries = [*((form, "turns") for form in forms), *tries]
    *tries, (last_form, last_truncate) = tries
    for form, truncate in tries:
        with suppress(PromptTooLong, RecursionError):
            return render(form(), truncate)
    return render(last_form(), last_truncate)


def _instructed(request: ChatRequest) -> Iterator[Callable[[], Sequence[Message]]]:
    """Yield what makes the messages with their instructions; a later one makes fewer.

    An answer that must be a call has no other format.
    """
    messages = request.messages
    if request.must_call:
        yield lambda: with_call_instruction(messages, request.tools)
    if request.must_call or request.format is None or request.raw:
        yield lambda: messages
    else:
        for form in (request.format, "json"):
            yield partial(with_instruction, messages, form)


class TemplateRenderer:
    """Renders with the chat template that the built-in tokenizer reports for its model."""

    def __init__(self, tokenizer: Tokenizer, info: TokenizerInfo) -> None:
        # Some models mark these as special too, and still go on after them.
        own = {thinking.OPEN, thinking.CLOSE, tool_calls.OPEN, tool_calls.CLOSE}
        special = [
            token for token in info.control_tokens if token.special and token.text not in own
        ]
        escape = Escaper(token.text for token in info.control_tokens)
        names = {"bos_token": info.bos_token or "", "eos_token": info.eos_token}
        looks_for = ChatTemplate(info.chat_template, escape, escape, **names).looks_for
        # What the template looks for in an assistant's text stays; no mark of a turn ever does.
        needless = [
            token.text
            for token in info.control_tokens
            if token in special or not any(token.text in text for text in looks_for)
        ]
        self._template = ChatTemplate(info.chat_template, escape, Escaper(needless), **names)
        self._tokenizer = tokenizer
        self._longest_token = max(info.longest_token_bytes, 1)
        self.end_tokens = frozenset({info.eos_id, *(token.id for token in special)})
        self.turn_ends = (info.eos_token, *(token.text for token in special))

    def render(self, request: ChatRequest, window: Window, gone: Gone = still_there) -> Prompt:
        """Return the request's prompt, in no more tokens than fit an empty cache.

        Raises `PromptTooLong`, `ClientError` for a conversation that the model's template refuses,
        `TokenizerGone`, and `ClientGone` once `gone()`.
        """
        template = self._template.for_one_request()
        work = _Work(template, self._tokenizer, request, window, gone, self._longest_token)
        return render_with_format(request, work.fitted)

    def beginning(self, request: ChatRequest) -> Prompt | None:
        """Return the beginning that such prompts share: the system prompt and the tools."""
        before = tuple(takewhile(lambda turn: turn.role == "system", request.messages))
        if request.raw or request.context or request.format is not None or request.must_call:
            return None
        if not (before or request.tools):
            return None
        turns = (*before, Message("user", _QUESTION))
        text, _, _ = self._template.render(turns, _variables(request)).partition(_QUESTION)
        # The turn of the question stays out: the rest of a prompt begins at its first token.
        text = text[: max(0, *(text.rfind(end) for end in self.turn_ends))]
        return Prompt(text, self._tokenizer.count(text)) if text else None


@dataclass(frozen=True)
class _Work:
    """One request's prompt in the making."""

    template: ChatTemplate
    tokenizer: Tokenizer
    request: ChatRequest
    window: Window
    gone: Gone
    longest_token: int

    def fitted(self, messages: Sequence[Message], truncate: Truncation) -> Prompt:
        """Return the prompt of as much of the conversation as fits."""
        limit = self.window.prefill_limit
        sizes = {id(turn): _least_bytes(turn) for turn in messages}

        def at_least(kept: Sequence[Message]) -> int:
            kept = kept[-1:] if self.request.raw else kept
            return sum(sizes[id(turn)] for turn in kept) // self.longest_token

        if self.request.context:
            prompt = self._after_context(messages, at_least(messages))
            if prompt.tokens <= limit:
                return prompt
            if truncate == "nothing":
                raise PromptTooLong(
                    f"the context and the prompt have at least {prompt.tokens} tokens and this "
                    f"model reads at most {limit}; leave the context out",
                    prompt.tokens,
                    limit,
                )
        return fit(
            messages,
            limit,
            self._rendered,
            self._count,
            target=lambda tokens: trim_target(tokens, self.window),
            truncate=truncate,
            cut_limit=self.window.longest_cut_prompt,
            at_least=at_least,
        )

    def _rendered(self, messages: Sequence[Message]) -> str:
        if self.gone():
            raise ClientGone
        if self.request.raw:
            return self.template.raw(messages[-1].content)
        return self.template.render(messages, _variables(self.request))

    def _count(self, text: str) -> int:
        # A text this long cannot fit whatever its tokens are; encoding it would waste time.  Each
        # escape splits a token off.
        least = max(len(text.encode()) // self.longest_token, text.count(ESCAPE))
        return least if least > self.window.prefill_limit else self.tokenizer.count(text)

    def _after_context(self, messages: Sequence[Message], at_least: int) -> Prompt:
        """Return the earlier tokens and the messages as one prompt.

        Where it is too long, the context goes, as the oldest turns of a conversation do.
        """
        context = self.request.context
        if (least := len(context) + at_least + 1) > self.window.prefill_limit:
            return Prompt("", least)
        follow_up = self.template.follow_up(messages, _variables(self.request))
        text = self.tokenizer.detokenize(context) + follow_up
        return Prompt(text, self._count(text))


def _variables(request: ChatRequest) -> dict[str, Any]:
    # Some templates only test whether tools are defined: an empty list would begin a section.
    return {"tools": request.tools or None, "enable_thinking": bool(request.think)}


def _least_bytes(turn: Message) -> int:
    """Return how many bytes of the turn are in every prompt with it.

    Templates drop blanks around texts, and what an assistant wrote before its answer.
    """
    content = turn.content
    if turn.role == "assistant":
        content = content.rpartition(thinking.CLOSE)[2]
    return len(without_surrogates(content.replace("\0", "").strip()).encode())
