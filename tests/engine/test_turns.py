"""Thinking, tools and forms through the whole engine, in virtual time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from axproxy.control_tokens import ControlToken
from axproxy.engine.protocol import Answer, Engine
from axproxy.messages import ChatRequest, Finished, Limits, Message, Text, Thinking, ToolCall
from axproxy.models.description import describe_model
from axproxy.models.tokenizer_files import SMALL_TOKENIZER, read_tokenizer_files
from axproxy.prompts.tokenizer import TokenizerInfo
from axproxy.settings import Settings
from tests.engine.test_engine import FakeSupervisor, virtual_time  # noqa: F401 - a fixture
from tests.support.engines import engine_on
from tests.support.simulated import Card, Times, spell

QUESTION = (Message("user", "Which pet?"),)
TOOL = {"type": "function", "function": {"name": "pets", "parameters": {"type": "object"}}}
CALL = '<tool_call>\n{"name": "pets", "arguments": {"n": 1}}\n</tool_call>'
SCHEMA = {"type": "object", "required": ["name"]}


class Qwen(Card):
    """A card whose model has Qwen's template, and a wide window."""

    def info(self) -> TokenizerInfo:
        return replace(
            super().info(), chat_template=read_tokenizer_files(SMALL_TOKENIZER).chat_template
        )


class WideSupervisor(FakeSupervisor):
    def window(self) -> Any:
        return replace(super().window(), context=4000, prefill_limit=3000)


MODEL = describe_model(Settings.from_env({}))


def engine_with(card: Card) -> Engine:
    return engine_on(
        Settings.from_env({}),
        WideSupervisor(),
        tokenizer=card,
        connect=lambda: card,
        clock=card.clock,
    )


def parts_of(answer: Answer) -> tuple[str, str, list[ToolCall], Finished]:
    """Thinking, text, calls and the end of an answer."""
    try:
        *events, finished = answer
    finally:
        answer.close()
    assert isinstance(finished, Finished)
    thinking = "".join(event.text for event in events if isinstance(event, Thinking))
    text = "".join(event.text for event in events if isinstance(event, Text))
    return thinking, text, [event for event in events if isinstance(event, ToolCall)], finished


def answered(*answers: str, card: Card | None = None, **fields: Any) -> tuple[Any, ...]:
    card = card or Qwen([spell(answer) for answer in answers])
    request = ChatRequest(QUESTION, **fields)
    return parts_of(engine_with(card).answer(MODEL, request, lambda: False))


def test_a_model_that_can_think_does_unless_the_request_says_no() -> None:
    card = Qwen([spell("<think>\nHm.\n</think>\n\nRex")])
    assert answered(card=card)[:2] == ("Hm.\n", "Rex")
    assert answered(card=card, think=True)[:2] == ("Hm.\n", "Rex")
    # Its text is not parsed for thinking; the prompt asked it not to think.
    assert answered(card=card, think=False)[:2] == ("", "<think>\nHm.\n</think>\n\nRex")
    assert [prompt.endswith("</think>\n\n") for prompt in card.prompts] == [False, False, True]


def test_thinking_that_eats_the_whole_budget_ends_for_its_length() -> None:
    thinking, text, _, finished = answered("<think>Hm, hm.</think>Rex", limits=Limits(12))
    assert (thinking, text) == ("Hm, h", "")
    assert (finished.reason, finished.usage.completion_tokens) == ("length", 12)


def test_stop_strings_are_looked_for_in_all_that_the_model_says() -> None:
    text = "<think>One. Two.</think>Rex. Bello."
    assert answered(text, limits=Limits(stop=("Two",)))[:2] == ("One. ", "")
    assert answered(text, limits=Limits(stop=(". B",)))[:2] == ("One. Two.", "Rex")


def test_calls_leave_as_soon_as_they_are_complete_and_cut_nothing() -> None:
    said = f"<think>\nHm.\n</think>\n\nOne moment.\n{CALL}\n{CALL}"
    thinking, text, calls, finished = answered(said, tools=(TOOL,))
    assert (thinking, text) == ("Hm.\n", "One moment.")
    assert [(call.name, call.arguments) for call in calls] == [("pets", {"n": 1})] * 2
    assert len({call.id for call in calls}) == 2
    assert finished.reason == "stop"
    assert finished.usage.completion_tokens == len(said)


def test_without_tools_on_offer_a_call_is_text() -> None:
    assert answered(CALL)[1:3] == (CALL, [])


def test_tools_are_in_the_prompt_only_where_there_are_any() -> None:
    card = Qwen([spell("Rex")])
    answered(card=card)
    answered(card=card, tools=(TOOL,))
    assert ["# Tools" in prompt for prompt in card.prompts] == [False, True]


def test_an_answer_in_a_form_is_asked_for_and_freed_of_its_fences() -> None:
    card = Qwen([spell('<think>Hm.</think>```json\n{"name": 1}\n```')])
    assert answered(card=card, format=SCHEMA)[:2] == ("Hm.", '{"name": 1}')
    assert "JSON schema" in card.prompts[0]
    assert '"required": ["name"]' in card.prompts[0]


def test_a_second_try_is_a_run_in_the_same_turn() -> None:
    card = Qwen([spell("<think>Hm.</think>Rex"), spell('{"name": 1}')])
    thinking, text, _, finished = answered(card=card, format=SCHEMA)
    assert (thinking, text) == ("Hm.", '{"name": 1}')
    assert len(card.prompts) == 2
    assert "refused: it is not JSON" in card.prompts[1]
    assert card.prompts[1].endswith("<think>\n\n</think>\n\n")  # it does not think twice
    assert finished.usage.prompt_tokens == len(card.prompts[1])
    assert finished.usage.completion_tokens == len('{"name": 1}')
    assert finished.usage.total > finished.usage.eval + finished.usage.prompt_eval


@pytest.mark.parametrize("what", ["long", "deep"])
def test_a_schema_that_does_not_fit_does_not_fail_the_request(what: str) -> None:
    card = Qwen([spell('{"name": 1}')])
    schema: dict[str, Any] = {"description": "x" * 5000 if what == "long" else ""}
    for _ in range(5000 if what == "deep" else 0):
        schema = {"not": schema}
    assert answered(card=card, format=schema)[1] == '{"name": 1}'
    assert "JSON object" in card.prompts[0]


def test_a_schema_is_kept_beside_a_message_that_must_be_cut() -> None:
    card = Qwen([spell('{"name": 1}')])
    request = ChatRequest((Message("user", "x" * 9000),), format=SCHEMA, truncate="text")
    assert parts_of(engine_with(card).answer(MODEL, request, lambda: False))[1] == '{"name": 1}'
    assert '"required": ["name"]' in card.prompts[0]
    assert "[... a part of this text" in card.prompts[0]


def test_a_client_that_leaves_while_its_json_is_awaited_frees_the_card() -> None:
    card = Qwen([spell('{"name": "' + "x" * 2000)], times=Times(token=0.1))
    engine = engine_with(card)
    answer = engine.answer(MODEL, ChatRequest(QUESTION, format="json", think=False), lambda: False)
    assert next(answer) == Text("")
    answer.close()
    assert card.idle
    assert not engine.health().queue.answering


@pytest.mark.parametrize("fields", [{"format": "json"}, {"tools": (TOOL,)}])
def test_a_client_that_waits_for_the_end_of_something_long_gets_signs_of_life(
    fields: dict[str, Any],
) -> None:
    long = '<tool_call>{"name": "pets", "arguments": {"a": "' + "x" * 200 + '"}}'
    card = Qwen([spell(long)], times=Times(token=0.2))
    answer = engine_with(card).answer(
        MODEL, ChatRequest(QUESTION, think=False, **fields), lambda: False
    )
    begun = card.now
    signs = []
    for event in answer:
        if event != Text(""):
            break
        signs.append(card.now)
    answer.close()
    assert len(signs) >= 4
    pauses = [after - before for before, after in zip([begun, *signs], signs, strict=False)]
    assert max(pauses) < 2.0  # each group of tokens is one; the dialects send few of them on


def test_a_model_whose_tags_are_marked_special_goes_on_after_them() -> None:
    class Marked(Qwen):
        def info(self) -> TokenizerInfo:
            tags = ("<think>", "</think>", "<tool_call>", "</tool_call>")
            tokens = [ControlToken(ord("~") + n, tag, True) for n, tag in enumerate(tags)]
            return replace(super().info(), control_tokens=(*super().info().control_tokens, *tokens))

    card = Marked([spell("a~b\x7fc")])  # "~" stands for <think> here
    assert answered(card=card, think=False)[1] == "a~b\x7fc"


@pytest.mark.parametrize("think", [True, False])
def test_an_answer_that_was_begun_goes_on_where_it_stopped(think: bool) -> None:
    card = Qwen([spell(" the sky is blue.")])
    messages = (*QUESTION, Message("assistant", "Because"))
    request = ChatRequest(messages, think=think)
    thinking, text, _, finished = parts_of(engine_with(card).answer(MODEL, request, lambda: False))

    assert card.prompts[0].endswith("<|im_start|>assistant\n<think>\n\n</think>\n\nBecause")
    assert (thinking, text) == ("", " the sky is blue.")
    assert finished.usage.prompt_tokens == len(card.prompts[0])
