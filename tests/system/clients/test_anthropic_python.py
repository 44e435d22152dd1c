"""Anthropic's own Python client, which coding agents use, against the whole stack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anthropic
import httpx
import pydantic
import pytest
from anthropic.types import TextBlock, ThinkingBlock, ToolUseBlock

from axproxy.errors import RuntimeGone
from axproxy.messages import Text
from axproxy.settings import Settings
from tests.support.fakes import QWEN, FakeEngine, FakeModels
from tests.support.in_process import served
from tests.support.scripted import Scripted, tool_call
from tests.support.service import Service

pytestmark = pytest.mark.integration

MODELS = FakeModels(replace(QWEN, name="mock"))
QUESTION = "What is the weather in Paris and in Oslo?"
THOUGHT = "<think>\nI need the weather.\n</think>\n\n"
TOOL: Any = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
NO_THINKING: Any = {"type": "disabled"}


class Pet(pydantic.BaseModel):
    name: str
    age: int


def asked(text: str = QUESTION, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "mock", "max_tokens": 200, "messages": messages, **fields}


def client_of(base: str, key: str = "x") -> anthropic.Anthropic:
    web = httpx.Client(trust_env=False)
    return anthropic.Anthropic(
        base_url=base, api_key=key, timeout=120, max_retries=0, http_client=web
    )


@pytest.fixture
def model(scripted_service: Scripted) -> Scripted:
    return scripted_service


@pytest.fixture
def client(model: Scripted) -> Iterator[anthropic.Anthropic]:
    with client_of(model.service.base) as client:
        yield client


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_question_reaches_the_model(shared: Service) -> None:
    with client_of(shared.base) as client:
        answer = client.messages.create(**asked(system="Be brief.", thinking=NO_THINKING))

    assert QUESTION in text_of(answer)
    assert answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens > 10
    assert answer.usage.output_tokens > 10


def test_a_limit_is_exact_to_the_token(client: anthropic.Anthropic, model: Scripted) -> None:
    model.says("one two three four five six seven")
    answer = client.messages.create(**asked(max_tokens=3, thinking=NO_THINKING))

    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 3)


def test_a_stop_sequence_ends_the_answer(client: anthropic.Anthropic, model: Scripted) -> None:
    model.says("one two STOP three")
    answer = client.messages.create(**asked(stop_sequences=["STOP"], thinking=NO_THINKING))

    assert (text_of(answer), answer.stop_reason) == ("one two ", "end_turn")


def test_an_answer_streams(client: anthropic.Anthropic, model: Scripted) -> None:
    reply_text = "It rains in Paris, and in Oslo the sun shines. " * 10
    model.says(reply_text)
    with client.messages.stream(**asked(thinking=NO_THINKING, max_tokens=1000)) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()

    assert len(pieces) > 3
    assert "".join(pieces) == text_of(final) == reply_text
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens >= len(pieces)


def test_thinking_text_and_calls_stream_as_blocks(
    client: anthropic.Anthropic, model: Scripted
) -> None:
    thought = "I need the weather.\n" * 20
    calls = f"{tool_call('Paris')}\n{tool_call('Oslo')}"
    model.says(f"<think>\n{thought}</think>\n\nOne moment.\n{calls}")
    with client.messages.stream(**asked(tools=[TOOL])) as stream:
        thoughts = [event.thinking for event in stream if event.type == "thinking"]
        final = stream.get_final_message()

    thinking, text, first, second = final.content
    assert isinstance(thinking, ThinkingBlock)
    assert isinstance(text, TextBlock)
    assert isinstance(first, ToolUseBlock)
    assert isinstance(second, ToolUseBlock)
    assert len(thoughts) > 1
    assert "".join(thoughts) == thinking.thinking == thought
    assert text.text == "One moment."
    assert (first.input, second.input) == ({"city": "Paris"}, {"city": "Oslo"})
    assert first.id != second.id
    assert final.stop_reason == "tool_use"


def test_results_of_tools_reach_the_model(client: anthropic.Anthropic, model: Scripted) -> None:
    model.says(f"{THOUGHT}{tool_call('Paris')}")
    answer = client.messages.create(**asked(tools=[TOOL]))
    (call,) = (block for block in answer.content if block.type == "tool_use")

    model.says("It is warm.")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}
    turns = [
        *asked()["messages"],
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [result]},
    ]
    last = client.messages.create(**asked(tools=[TOOL], messages=turns))
    assert text_of(last) == "It is warm."
    assert last.usage.input_tokens > answer.usage.input_tokens


def test_a_prompt_is_counted_as_its_answer_counts_it(client: anthropic.Anthropic) -> None:
    body = asked(system="Be brief.", tools=[TOOL])
    counted = client.messages.count_tokens(
        **{name: value for name, value in body.items() if name != "max_tokens"}
    )

    answer = client.messages.create(**body)
    assert counted.input_tokens == answer.usage.input_tokens


def test_thinking_can_be_handed_back(client: anthropic.Anthropic, model: Scripted) -> None:
    model.says("<think>\nFirst a look.\n</think>\n\nIt is four.")
    with client.messages.stream(**asked()) as stream:
        answer = stream.get_final_message()
    thought = answer.content[0]

    assert thought.type == "thinking"
    assert thought.signature
    turns = [*asked()["messages"], {"role": "assistant", "content": answer.content}]
    again = {**asked(), "messages": [*turns, {"role": "user", "content": "Sure?"}]}
    assert text_of(client.messages.create(**again)) == "It is four."


def test_an_answer_follows_a_schema(client: anthropic.Anthropic, model: Scripted) -> None:
    model.says(f'{THOUGHT}Here you are:\n```json\n{{"name": "Rex", "age": 3}}\n```')

    answer = client.messages.parse(**asked("A pet?"), output_format=Pet)
    assert answer.parsed_output == Pet(name="Rex", age=3)


def test_errors_are_the_clients_own_exceptions(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="model 'nope' not found"):
        client.messages.create(**asked(model="nope"))
    with pytest.raises(anthropic.BadRequestError, match="messages is required"):
        client.messages.create(**asked(messages=[]))


def test_a_stream_that_breaks_is_an_exception() -> None:
    engine = FakeEngine((Text("Hel"), RuntimeGone("it died")))
    with served(engine, MODELS) as base, client_of(base) as client:
        stream = client.messages.create(**asked(), stream=True)
        heard = [next(stream).type for _ in range(3)]
        with pytest.raises(anthropic.APIStatusError, match="running the model: it died"):
            next(stream)

    assert heard == ["message_start", "content_block_start", "content_block_delta"]


def test_the_key_goes_where_anthropics_clients_put_it() -> None:
    with served(FakeEngine(), MODELS, Settings(api_key="s3cret")) as base:
        with client_of(base) as stranger, pytest.raises(anthropic.AuthenticationError):
            stranger.messages.create(**asked())
        with client_of(base, "s3cret") as friend:
            assert text_of(friend.messages.create(**asked())) == "Hello"
