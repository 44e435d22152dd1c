"""Renders messages with a model's own chat template, to the text the model was trained on.

Templates come with model files from anywhere, so they run in a sandbox.  Text from clients is
escaped before it goes in, so that it can never become a control token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime
from functools import cache, cached_property
from itertools import takewhile
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from axproxy.errors import BadTemplate, ClientError
from axproxy.messages import Message
from axproxy.output import thinking
from axproxy.prompts.template_source import (
    GenerationBlock,
    expects_no_content,
    searched_texts,
)
from axproxy.prompts.tool_results import with_results_linked

# For models without a template: the form of Qwen's and most other models for these cards.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


Escape = Callable[[str], str]

# Errors of a template that was not written for such a conversation.
_TEMPLATE_FAILURES = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    RecursionError,
)

_ANSWER = "an-answer-in-no-conversation"
_FIRST_SYSTEM, _SECOND_SYSTEM = "a-first-system-message", "a-second-system-message"


class _TemplateRefused(Exception):
    """The template called `raise_exception`: it does not support such a conversation."""


class ChatTemplate:
    """Renders conversations; safe to share between threads.

    `escape` is applied to text of people and tools, and to thinking and tool calls, which the
    template puts between tags of its own.  `escape_assistant` is applied to the assistant's other
    text, in which the template must still find what it `looks_for`.
    """

    def __init__(
        self,
        source: str | None,
        escape: Escape,
        escape_assistant: Escape,
        *,
        bos_token: str,
        eos_token: str,
    ) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", GenerationBlock],
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: (
            datetime.now().astimezone().strftime(form)
        )
        try:
            self._template = environment.from_string(source or CHATML)
            self.looks_for = searched_texts(environment, source or CHATML)
            self._expects_no_content = expects_no_content(environment, source or CHATML)
        except TemplateError as error:
            raise BadTemplate(
                f"the model's chat template cannot be read: {error}; "
                "compare the model folder with its publisher's"
            ) from error
        self._escape = escape
        self._escape_assistant = escape_assistant
        self._names = {"bos_token": bos_token, "eos_token": eos_token}

    def for_one_request(self) -> ChatTemplate:
        """Return the same template, which escapes each text once, however often it is rendered."""
        once = copy(self)
        once._escape = cache(self._escape)
        once._escape_assistant = cache(self._escape_assistant)
        return once

    def render(self, messages: Sequence[Message], variables: Mapping[str, Any]) -> str:
        """Return the prompt, up to where the assistant's text begins or goes on.

        A conversation that ends with the assistant's own text is an answer that shall go on: the
        prompt ends with that text, and the turn stays open.  Raises `ClientError` when the template
        refuses the conversation.
        """
        *before, last = messages
        if last.role != "assistant" or last.tool_calls or not (before or last.content):
            return self._render(messages, variables)
        thought, content = _split(last)
        if not (content or thought):  # an empty beginning begins nothing
            return self._render(before, variables)
        return self._opening(before, thought, variables) + self._escape_assistant(content)

    def _opening(
        self, before: Sequence[Message], thought: str, variables: Mapping[str, Any]
    ) -> str:
        """Return the prompt up to where the text of an answer begins that shall go on."""
        if before and not thought:  # it was begun without thinking
            opening = self._render(before, {**variables, "enable_thinking": False})
            if not opening.rstrip().endswith(thinking.OPEN):
                return opening
        begun = Message("assistant", _ANSWER, thinking=thought)
        text = self._render((*before, begun), variables, add_generation_prompt=False)
        opening, found, _ = text.rpartition(_ANSWER)
        if not found:
            raise ClientError("the model's chat template cannot go on with an answer")
        return opening

    def _render(
        self,
        messages: Sequence[Message],
        variables: Mapping[str, Any],
        *,
        add_generation_prompt: bool = True,
    ) -> str:
        leading = list(takewhile(lambda turn: turn.role == "system", messages))
        if len(leading) > 1 and not self._takes_two_systems:
            words = "\n\n".join(turn.content for turn in leading if turn.content)
            messages = (replace(leading[0], content=words), *messages[len(leading) :])
        return self._render_as_they_are(messages, variables, add_generation_prompt)

    @cached_property
    def _takes_two_systems(self) -> bool:
        """Whether the template renders two system messages; some refuse or drop the second."""
        system = (Message("system", _FIRST_SYSTEM), Message("system", _SECOND_SYSTEM))
        try:
            text = self._render_as_they_are((*system, Message("user", "Hello")), {}, True)
        except ClientError:
            return False
        return _FIRST_SYSTEM in text and _SECOND_SYSTEM in text

    def _render_as_they_are(
        self, messages: Sequence[Message], variables: Mapping[str, Any], add_generation_prompt: bool
    ) -> str:
        try:
            if any(turn.role == "tool" for turn in messages):
                messages = [*with_results_linked(messages)]
            turns = [self._turn(turn) for turn in messages]
            names = {**self._names, "enable_thinking": False, **self._escaped(variables)}
            return self._template.render(
                messages=turns, add_generation_prompt=add_generation_prompt, **names
            )
        except _TemplateRefused as refused:
            raise ClientError(f"the model's chat template refuses this: {refused}") from refused
        except _TEMPLATE_FAILURES as error:
            raise ClientError(
                f"the model's chat template cannot render this conversation: {error}"
            ) from error

    def follow_up(self, messages: Sequence[Message], variables: Mapping[str, Any]) -> str:
        """Return the text after an answer that `messages` follow: the end of its turn, then theirs.

        Raises `ClientError` when the template refuses that.
        """
        before = (Message("user", "Hello"), Message("assistant", _ANSWER))
        _, found, rest = self.render((*before, *messages), variables).partition(_ANSWER)
        if not found:
            raise ClientError(
                "the model's chat template cannot go on from a context; use /api/chat instead"
            )
        return rest

    def _turn(self, turn: Message) -> dict[str, Any]:
        """Return a turn, its parts named as templates expect them."""
        role = self._escape(turn.role)
        if role == "assistant":
            parts: dict[str, Any] = self._assistant_parts(turn)
        else:
            parts = {"content": self._escape(turn.content)}
        named = {"name": turn.tool_name, "tool_call_id": turn.tool_call_id}
        return {"role": role, **parts, **self._escaped({k: v for k, v in named.items() if v})}

    def _assistant_parts(self, turn: Message) -> dict[str, Any]:
        """Return the parts of an assistant's turn, always with its thinking apart.

        Templates that look for thinking in the content would take any tag there for its end.
        """
        thought, content = _split(turn)
        calls = [
            {
                "type": "function",
                **({"id": self._escape(call.id)} if call.id else {}),
                "function": {
                    "name": self._escape(call.name),
                    "arguments": _Arguments(self._escaped(call.arguments)),
                },
            }
            for call in turn.tool_calls
        ]
        no_content = calls and not content and self._expects_no_content
        return {
            "content": None if no_content else self._escape_assistant(content),
            "reasoning_content": self._escape(thought),
            **({"tool_calls": calls} if calls else {}),
        }

    def _escaped(self, value: Any) -> Any:
        """Return a client's structure, such as a list of tools, with every text in it escaped."""
        if isinstance(value, str):
            return self._escape(value)
        if isinstance(value, Mapping):
            return {self._escaped(key): self._escaped(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._escaped(item) for item in value]
        return value

    def raw(self, text: str) -> str:
        """Return a client's own prompt, unchanged except that control tokens stay text."""
        return self._escape(text)


class _Arguments(dict[str, Any]):
    """A call's arguments: an object, and JSON for templates that put it between texts."""

    def __str__(self) -> str:
        return _to_json(self)

    def __add__(self, text: str) -> str:
        return f"{self}{text}"

    def __radd__(self, text: str) -> str:
        return f"{text}{self}"


def _split(turn: Message) -> tuple[str, str]:
    """Return the thinking and the text of an assistant's turn."""
    return (turn.thinking, turn.content) if turn.thinking else thinking.split_thinking(turn.content)


def _refuse(reason: str) -> NoReturn:
    raise _TemplateRefused(reason)


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    # Jinja's own filter escapes <, > and & for HTML, a form that the model was not trained on.
    return json.dumps(value, ensure_ascii=False, indent=indent)
