"""Capabilities are found by rendering the template."""

from __future__ import annotations

import pytest

from axproxy.models.tokenizer_files import SMALL_TOKENIZER, read_tokenizer_files
from axproxy.prompts.template_features import capabilities

GENERATE = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TOOLS = "{% if tools %}{{ tools | tojson }} in <tool_call></tool_call>{% endif %}"
HYBRID = "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"

TEMPLATES = {
    "none": (None, ()),
    "plain": (GENERATE, ()),
    "qwen2.5": (TOOLS + GENERATE, ("tools",)),
    "qwen3": (TOOLS + GENERATE + HYBRID, ("tools", "thinking")),
    "qwen3, thinking only": (TOOLS + GENERATE + "<think>\n", ("tools", "thinking")),
    "deepseek r1": (GENERATE + "<think>\n", ("thinking",)),
    "only tidies a history": (
        "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}" + GENERATE,
        (),
    ),
    "another form of calls": ("{{ tools | tojson if tools else '' }}[TOOL_CALLS]" + GENERATE, ()),
    "mentions tools only": ("{# tools <tool_call> #}" + GENERATE, ()),
    "refuses tools": (
        "{% if tools %}{{ raise_exception('no') }}{% endif %}<tool_call>" + GENERATE,
        (),
    ),
    "broken": ("{% if %}", ()),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_capabilities_follow_from_the_template(name: str) -> None:
    template, more = TEMPLATES[name]
    assert capabilities(template) == ("completion", *more)


def test_the_shipped_template_can_do_everything() -> None:
    template = read_tokenizer_files(SMALL_TOKENIZER).chat_template
    assert capabilities(template) == ("completion", "tools", "thinking")


TIDIES = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}"


def test_a_model_thinks_unasked_that_has_a_token_for_it_and_a_template_that_cuts_it() -> None:
    tokens = ["<think>", "</think>"]
    deepseek = TIDIES + "{% if add_generation_prompt %}<\uff5cAssistant\uff5c>{% endif %}"
    assert capabilities(deepseek, tokens) == ("completion", "thinking")
    assert capabilities(deepseek, ["<|im_end|>"]) == ("completion",)
    assert capabilities(GENERATE, tokens) == ("completion",)
    assert capabilities(TIDIES + GENERATE + "<think>\n\n</think>\n", tokens) == ("completion",)
