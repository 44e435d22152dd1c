"""OpenAI's own Python client and its newer API, as agents use it, against the whole stack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pydantic
import pytest

from axproxy.errors import RuntimeGone
from axproxy.messages import Text
from tests.support.fakes import QWEN, FakeEngine, FakeModels
from tests.support.in_process import served
from tests.support.scripted import Scripted, tool_call
from tests.support.service import Service

pytestmark = pytest.mark.integration

MODELS = FakeModels(replace(QWEN, name="mock"))
QUESTION = "What is the weather in Paris and in Oslo?"
THOUGHT = "<think>\nI need the weather.\n</think>\n\n"
TOOL: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


class Pet(pydantic.BaseModel):
    name: str
    age: int


def client_of(base: str) -> openai.OpenAI:
    web = httpx.Client(trust_env=False)
    return openai.OpenAI(
        base_url=f"{base}/v1", api_key="x", timeout=120, max_retries=0, http_client=web
    )


@pytest.fixture
def model(scripted_service: Scripted) -> Scripted:
    return scripted_service


@pytest.fixture
def client(model: Scripted) -> Iterator[openai.OpenAI]:
    with client_of(model.service.base) as client:
        yield client


def test_a_question_reaches_the_model(shared: Service) -> None:
    with client_of(shared.base) as client:
        answer = client.responses.create(
            model="mock", input=QUESTION, instructions="Be brief.", reasoning={"effort": "none"}
        )

    assert answer.status == "completed"
    assert QUESTION in answer.output_text
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_a_limit_is_exact_to_the_token(client: openai.OpenAI, model: Scripted) -> None:
    model.says("one two three four five six seven")
    answer = client.responses.create(
        model="mock", input=QUESTION, max_output_tokens=3, reasoning={"effort": "none"}
    )

    assert answer.usage
    assert answer.usage.output_tokens == 3
    assert answer.status == "incomplete"
    assert answer.incomplete_details
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.output[0].status == "incomplete"


def test_an_answer_streams(client: openai.OpenAI, model: Scripted) -> None:
    reply_text = "It rains in Paris, and in Oslo the sun shines. " * 10
    model.says(reply_text)
    events = list(
        client.responses.create(
            model="mock", input=QUESTION, stream=True, reasoning={"effort": "none"}
        )
    )

    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 3
    assert "".join(deltas) == reply_text
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_the_helper_for_streams_gets_reasoning_text_and_calls(
    client: openai.OpenAI, model: Scripted
) -> None:
    model.says(f"{THOUGHT}One moment.\n{tool_call('Paris')}\n{tool_call('Oslo')}")
    with client.responses.stream(model="mock", input=QUESTION, tools=[TOOL]) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()

    assert "response.reasoning_summary_text.delta" in kinds
    reasoning, message, first, second = final.output
    assert reasoning.type == "reasoning"
    assert reasoning.summary[0].text == "I need the weather.\n"
    assert message.type == "message"
    assert final.output_text == "One moment."
    assert first.type == second.type == "function_call"
    assert (first.arguments, second.arguments) == ('{"city":"Paris"}', '{"city":"Oslo"}')
    assert first.call_id != second.call_id


def test_results_of_tools_reach_the_model(client: openai.OpenAI, model: Scripted) -> None:
    model.says(f"{THOUGHT}{tool_call('Paris')}")
    asked: list[Any] = [{"role": "user", "content": QUESTION}]
    answer = client.responses.create(model="mock", input=asked, tools=[TOOL])
    (call,) = (item for item in answer.output if item.type == "function_call")

    model.says("It is warm.")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"}
    last = client.responses.create(
        model="mock", input=[*asked, *answer.output, result], tools=[TOOL]
    )
    assert last.output_text == "It is warm."
    assert last.usage
    assert answer.usage
    assert last.usage.input_tokens > answer.usage.input_tokens


def test_an_answer_follows_a_schema(client: openai.OpenAI, model: Scripted) -> None:
    model.says(f'{THOUGHT}Here you are:\n```json\n{{"name": "Rex", "age": 3}}\n```')

    answer = client.responses.parse(model="mock", input="A pet?", text_format=Pet)
    assert answer.output_parsed == Pet(name="Rex", age=3)


def test_errors_are_the_clients_own_exceptions(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
        client.responses.create(model="nope", input="a")
    with pytest.raises(openai.BadRequestError, match="this service stores nothing"):
        client.responses.create(model="mock", input="a", previous_response_id="resp_1")


def test_a_stream_that_breaks_is_an_exception() -> None:
    engine = FakeEngine((Text("Hel"), RuntimeGone("it died")))
    with served(engine, MODELS) as base, client_of(base) as client:
        stream = client.responses.create(model="mock", input=QUESTION, stream=True)
        *_, delta, failed = (next(stream).type for _ in range(6))
        with pytest.raises(openai.APIError, match="running the model: it died"):
            next(stream)

    assert (delta, failed) == ("response.output_text.delta", "response.failed")
