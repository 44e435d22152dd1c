"""The tokenizer that ships with the project: how it is made, and its chat template."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from axproxy.models.tokenizer_files import SMALL_TOKENIZER
from axproxy.tokenizer.tokenizer import TextTokenizer

TOOL = Path(__file__).resolve().parents[2] / "tools" / "build_small_tokenizer.py"


@pytest.fixture(scope="module", name="tool")
def build_tool() -> ModuleType:
    """tools/build_small_tokenizer.py."""
    spec = importlib.util.spec_from_file_location(TOOL.stem, TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_made_from_the_corpus_alone(tool: ModuleType, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        assert tool.main(["--folder", str(tmp_path / folder)]) == 0
    for name in ("tokenizer.json", "tokenizer_config.json"):
        made = (tmp_path / "one" / name).read_bytes()
        assert made == (tmp_path / "two" / name).read_bytes()
    # The vocabulary may differ with the library's version; its other files may not.
    assert made == (SMALL_TOKENIZER / name).read_bytes()


def test_it_is_small(small: TextTokenizer) -> None:
    assert (SMALL_TOKENIZER / "tokenizer.json").stat().st_size < 1 << 20
    assert 3000 < small.info()["vocab_size"] < 5000


def test_its_control_tokens_are_qwens(small: TextTokenizer) -> None:
    special = [token.text for token in small.control_tokens if token.special]
    assert special[:3] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert len(special) == 14
    others = {token.text for token in small.control_tokens if not token.special}
    assert {"<think>", "</think>", "<tool_call>", "</tool_response>", "<|fim_pad|>"} < others


def test_everyday_english_takes_few_tokens(small: TextTokenizer) -> None:
    text = "What will the weather be like tomorrow in the village near the river?"
    assert small.count(text) < 1.6 * len(text.split())


def render(messages: list[dict[str, Any]], **variables: Any) -> str:
    """Return the prompt that the shipped template makes of messages."""
    config = json.loads((SMALL_TOKENIZER / "tokenizer_config.json").read_text(encoding="utf-8"))
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    return environment.from_string(config["chat_template"]).render(messages=messages, **variables)


def say(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    """A message."""
    return {"role": role, "content": content, **more}


ASK, REPLY = say("user", "Hi"), say("assistant", "Hello")
CALL = {"type": "function", "function": {"name": "f", "arguments": {"a": "ü"}}}
USER = "<|im_start|>user\nHi<|im_end|>\n"

PROMPTS = {
    # name: (messages, the rendered prompt)
    "one question": ([ASK], USER),
    "a system message": ([say("system", "Be"), ASK], f"<|im_start|>system\nBe<|im_end|>\n{USER}"),
    "a late system message": (
        [ASK, say("system", "X")],
        f"{USER}<|im_start|>system\nX<|im_end|>\n",
    ),
    "history": ([ASK, REPLY, ASK], f"{USER}<|im_start|>assistant\nHello<|im_end|>\n{USER}"),
    "earlier thoughts are left out": (
        [ASK, say("assistant", "<think>\nhm\n</think>\n\nHello"), ASK],
        f"{USER}<|im_start|>assistant\nHello<|im_end|>\n{USER}",
    ),
    "the latest thoughts stay": (
        [ASK, say("assistant", "Hello", reasoning_content="hm")],
        f"{USER}<|im_start|>assistant\n<think>\nhm\n</think>\n\nHello<|im_end|>\n",
    ),
    "a call and its results": (
        [ASK, say("assistant", "", tool_calls=[CALL, CALL]), say("tool", "1"), say("tool", "2")],
        f"{USER}<|im_start|>assistant\n"
        + '<tool_call>\n{"name": "f", "arguments": {"a": "ü"}}\n</tool_call>\n' * 2
        + "<|im_end|>\n<|im_start|>user\n<tool_response>\n1\n</tool_response>"
        "\n<tool_response>\n2\n</tool_response><|im_end|>\n",
    ),
    "a call with words and literal arguments": (
        [ASK, say("assistant", "Well", tool_calls=[{"name": "f", "arguments": "{}"}]), ASK],
        f"{USER}<|im_start|>assistant\nWell\n"
        '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call><|im_end|>\n' + USER,
    ),
    "no content": ([say("user", None)], "<|im_start|>user\n<|im_end|>\n"),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_template(name: str) -> None:
    messages, prompt = PROMPTS[name]
    assert render(messages) == prompt.replace("</tool_call>\n<|im_end|>", "</tool_call><|im_end|>")


def test_the_prompt_ends_where_the_answer_begins() -> None:
    begun = USER + "<|im_start|>assistant\n"
    assert render([ASK], add_generation_prompt=True) == begun
    assert render([ASK], add_generation_prompt=True, enable_thinking=True) == begun
    assert (
        render([ASK], add_generation_prompt=True, enable_thinking=False)
        == f"{begun}<think>\n\n</think>\n\n"
    )


@pytest.mark.parametrize("system", [[], [say("system", "Be")]])
def test_tools_are_described_in_the_system_message(system: list[dict[str, Any]]) -> None:
    prompt = render([*system, ASK], tools=[{"name": "f"}, {"name": "g"}])
    assert prompt.startswith("<|im_start|>system\n" + ("Be\n\n# Tools" if system else "# Tools"))
    assert '<tools>\n{"name": "f"}\n{"name": "g"}\n</tools>' in prompt
    assert prompt.endswith(f"</tool_call><|im_end|>\n{USER}")
    assert prompt.count("<|im_start|>") == 2
