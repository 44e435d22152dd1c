"""How a program that reads messages turns them into the model's prompt, by the model's family.

`axllm` applies the model's template itself and knows only roles and texts.  With the template here
we make one prompt of a request, as its model was trained on it, and cut it into the turns that the
program then puts together again; so tools need nothing of the program.  The texts around tools are
those of the published templates, for a model calls only what it was trained to call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOOLS = (
    "# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\n"
    "You are provided with function signatures within <tools></tools> XML tags:\\n<tools>"
)
_CALLS = (
    "\\n</tools>\\n\\nFor each function call, return a json object with function name and "
    "arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n"
    '{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call>'
)
# The thinking of earlier answers is left out, as these models expect it.
_CHATML = (
    """\
{%- set system = messages[0].content if messages and messages[0].role == "system" else none -%}
{%- if tools -%}
  {{- "<|im_start|>system\\n" -}}
  {%- if system -%}{{- system + "\\n\\n" -}}{%- endif -%}
  {{- \""""
    + _TOOLS
    + """\" -}}
  {%- for tool in tools -%}{{- "\\n" + tool | tojson -}}{%- endfor -%}
  {{- \""""
    + _CALLS
    + """\" + "<|im_end|>\\n" -}}
{%- elif system is not none -%}
  {{- "<|im_start|>system\\n" + system + "<|im_end|>\\n" -}}
{%- endif -%}
{%- for message in messages -%}
  {%- set text = message.content if message.content is string else "" -%}
  {%- if message.role == "user" or (message.role == "system" and not loop.first) -%}
    {{- "<|im_start|>" + message.role + "\\n" + text + "<|im_end|>\\n" -}}
  {%- elif message.role == "assistant" -%}
    {%- set rest = text.split("</think>")[-1].lstrip("\\n") -%}
    {{- "<|im_start|>assistant\\n" + rest -}}
    {%- for call in message.tool_calls or [] -%}
      {%- set called = call.function or call -%}
      {%- if rest or not loop.first -%}{{- "\\n" -}}{%- endif -%}
      {{- '<tool_call>\\n{"name": "' + called.name + '", "arguments": ' -}}
      {{- called.arguments if called.arguments is string else called.arguments | tojson -}}
      {{- "}\\n</tool_call>" -}}
    {%- endfor -%}
    {{- "<|im_end|>\\n" -}}
  {%- elif message.role == "tool" -%}
    {%- if loop.first or loop.previtem.role != "tool" -%}{{- "<|im_start|>user" -}}{%- endif -%}
    {{- "\\n<tool_response>\\n" + text + "\\n</tool_response>" -}}
    {%- if loop.last or loop.nextitem.role != "tool" -%}{{- "<|im_end|>\\n" -}}{%- endif -%}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- "<|im_start|>assistant\\n" -}}{%- endif -%}
"""
)
_NO_THOUGHT = """\
{%- if add_generation_prompt and enable_thinking is defined and not enable_thinking -%}
  {{- "<think>\\n\\n</think>\\n\\n" -}}
{%- endif -%}
"""
# Gemma has no turn of the system; its words begin the first question.
_GEMMA = """\
{{- "<bos>" -}}
{%- set system = messages[0].content if messages and messages[0].role == "system" else none -%}
{%- set turns = messages[1:] if system is not none else messages -%}
{%- for message in turns -%}
  {%- set text = message.content if message.content is string else "" -%}
  {{- "<start_of_turn>" + ("model" if message.role == "assistant" else "user") + "\\n" -}}
  {%- if loop.first and system -%}{{- system + "\\n\\n" -}}{%- endif -%}
  {{- text + "<end_of_turn>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- "<start_of_turn>model\\n" -}}{%- endif -%}
"""


@dataclass(frozen=True)
class ChatFormat:
    """One family's form of a conversation.

    `template` is a chat template in jinja, `turn` finds a turn in its text, with its role and its
    content; `roles` are the program's names of these roles.  `known` says that the form is that of
    the model's publisher; where it is not, counts are estimates.
    """

    template: str
    turn: re.Pattern[str]
    end_of_turn: str
    control_tokens: tuple[str, ...]
    roles: Mapping[str, str]
    thinks: bool = False
    calls_tools: bool = False
    known: bool = True

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What models of this form can do, in Ollama's words."""
        tools = ("tools",) if self.calls_tools else ()
        return ("completion", *tools, *(("thinking",) if self.thinks else ()))


def chat_format(family: str, model_name: str) -> ChatFormat:
    """Return the form for a model of this family, by its published name."""
    name = model_name.lower()
    if family.startswith("gemma"):
        return _gemma_format()
    qwen = family.startswith("qwen")
    # Models tuned for one of the two ways do not know the switch; "no_think" would confuse them.
    fixed = any(word in name for word in ("instruct", "-vl", "embedding", "reranker"))
    thinks = family in ("qwen3", "qwen3.5") and not fixed
    known = qwen or family in ("smollm", "minicpm")
    return _chatml_format(thinks=thinks, calls_tools=qwen, known=known)


def _chatml_format(*, thinks: bool, calls_tools: bool, known: bool) -> ChatFormat:
    return ChatFormat(
        template=_CHATML + _NO_THOUGHT if thinks else _CHATML,
        turn=re.compile(r"<\|im_start\|>(system|user|assistant)\n(.*?)<\|im_end\|>\n", re.DOTALL),
        end_of_turn="<|im_end|>",
        control_tokens=("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
        roles={role: role for role in ("system", "user", "assistant")},
        thinks=thinks,
        calls_tools=calls_tools,
        known=known,
    )


def _gemma_format() -> ChatFormat:
    return ChatFormat(
        template=_GEMMA,
        turn=re.compile(r"<start_of_turn>(user|model)\n(.*?)<end_of_turn>\n", re.DOTALL),
        end_of_turn="<end_of_turn>",
        control_tokens=("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        roles={"user": "user", "model": "assistant"},
    )
