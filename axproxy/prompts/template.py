"""A model's own chat template: messages to the text the model was trained to see.

Templates come with model files from anywhere, so they run in a sandbox; and what clients wrote is
shielded before it goes in, so that it can never become a control token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from axproxy.control_tokens import Escaper
from axproxy.errors import ClientError, RuntimeMisbehaved
from axproxy.messages import Message
from axproxy.output.thinking import split_thinking
from axproxy.prompts.tool_results import with_results_linked

# For models that bring no template: the form Qwen's and most models for these cards know.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


# What a template can run into with a conversation that it was not written for.
_MISHAPS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError)

_ANSWER = "an-answer-that-nobody-gave"


class _Refused(Exception):
    """The template called `raise_exception`: it does not know such a conversation."""


class ChatTemplate:
    """Renders conversations; safe to share between threads.

    `shield` is for what people and tools wrote, and for reasoning and calls, which the template
    puts between marks of its own; `own_shield` for the assistant's other words, of which the
    template must still recognise its marks.
    """

    def __init__(
        self,
        source: str | None,
        shield: Escaper,
        own_shield: Escaper,
        *,
        bos_token: str,
        eos_token: str,
    ) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: (
            datetime.now().astimezone().strftime(form)
        )
        try:
            self._template = environment.from_string(source or CHATML)
        except TemplateError as error:
            raise RuntimeMisbehaved(
                f"the model's chat template cannot be read: {error}; "
                "compare the model folder with its publisher's"
            ) from error
        self._shield = shield
        self._own_shield = own_shield
        self._names = {"bos_token": bos_token, "eos_token": eos_token}

    def render(self, messages: Sequence[Message], variables: Mapping[str, Any]) -> str:
        """The prompt, up to where the assistant's words begin.

        Raises `ClientError` when the template refuses the conversation.
        """
        try:
            turns = [self._turn(turn) for turn in with_results_linked(messages)]
            names = {**self._names, "enable_thinking": False, **self._shielded(variables)}
            return self._template.render(messages=turns, add_generation_prompt=True, **names)
        except _Refused as refused:
            raise ClientError(f"the model's chat template refuses this: {refused}") from refused
        except _MISHAPS as error:
            raise ClientError(
                f"the model's chat template cannot render this conversation: {error}"
            ) from error

    def follow_up(self, messages: Sequence[Message], variables: Mapping[str, Any]) -> str:
        """What comes behind an answer that `messages` follow: the end of its turn, then theirs.

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
        """A turn, its parts named as templates know them."""
        role = self._shield(turn.role)
        if role == "assistant":
            said: dict[str, Any] = self._own_words(turn)
        else:
            said = {"content": self._shield(turn.content)}
        named = {"name": turn.tool_name, "tool_call_id": turn.tool_call_id}
        return {"role": role, **said, **self._shielded({k: v for k, v in named.items() if v})}

    def _own_words(self, turn: Message) -> dict[str, Any]:
        """What the assistant said, with its reasoning always apart: templates that look for it in
        the content would take any tag there for its end."""
        thinking, content = turn.thinking, turn.content
        if not thinking:
            thinking, content = split_thinking(content)
        calls = [
            {
                "type": "function",
                **({"id": call.id} if call.id else {}),
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in turn.tool_calls
        ]
        return {
            "content": self._own_shield(content),
            "reasoning_content": self._shield(thinking),
            **({"tool_calls": self._shielded(calls)} if calls else {}),
        }

    def _shielded(self, value: Any) -> Any:
        """Every text in a structure that came from a client, such as a list of tools."""
        if isinstance(value, str):
            return self._shield(value)
        if isinstance(value, Mapping):
            return {self._shielded(key): self._shielded(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._shielded(item) for item in value]
        return value

    def raw(self, text: str) -> str:
        """A client's own prompt, untouched but for control tokens, which stay text."""
        return self._shield(text)


def _refuse(reason: str) -> NoReturn:
    raise _Refused(reason)


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    # Jinja's own escapes <, > and & for HTML, which would teach the model another language.
    return json.dumps(value, ensure_ascii=False, indent=indent)
