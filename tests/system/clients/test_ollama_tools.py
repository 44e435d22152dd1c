"""Thinking, tools and formats with Ollama's own Python client, against the whole stack."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import ollama
import pydantic
import pytest

from tests.support.scripted import Scripted, tool_call

pytestmark = pytest.mark.integration

ASKED = [{"role": "user", "content": "What is the weather in Paris and in Oslo?"}]
Ask = Callable[..., ollama.ChatResponse]
Script = Callable[[str], None]

THOUGHT = "<think>\nI need the weather.\n</think>\n\n"


def weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: its name
    """
    return f"{city}: 21 degrees"


class Pet(pydantic.BaseModel):
    name: str
    age: int


@pytest.fixture
def says(scripted_service: Scripted) -> Script:
    """Set the model's next answer."""
    return scripted_service.says


@pytest.fixture
def client(scripted_service: Scripted) -> Iterator[ollama.Client]:
    with ollama.Client(host=scripted_service.service.base, timeout=120, trust_env=False) as client:
        yield client


def test_reasoning_is_apart_from_the_answer(client: ollama.Client, says: Script) -> None:
    says(f"{THOUGHT}It rains.")
    for think in (None, True, "low"):
        message = client.chat("mock", ASKED, think=think).message
        assert (message.thinking, message.content) == ("I need the weather.\n", "It rains.")
    answer = client.generate("mock", "Why?", think=True)
    assert (answer.thinking, answer.response) == ("I need the weather.\n", "It rains.")


def test_reasoning_streams_before_the_answer(client: ollama.Client, says: Script) -> None:
    thought = "I need the weather.\n" * 20
    says(f"<think>\n{thought}</think>\n\nIt rains.")
    chunks = [chunk.message for chunk in client.chat("mock", ASKED, stream=True)]
    kinds = ["thinking" if chunk.thinking else "content" for chunk in chunks]
    assert kinds == sorted(kinds, reverse=True)
    assert kinds.count("thinking") > 1
    assert "".join(chunk.thinking or "" for chunk in chunks) == thought
    assert "".join(chunk.content or "" for chunk in chunks) == "It rains."


def test_reasoning_can_use_up_num_predict(client: ollama.Client, says: Script) -> None:
    says(f"<think>\n{'I need the weather. ' * 9}\n</think>\n\n")
    answer = client.chat("mock", ASKED, options={"num_predict": 12})
    assert (answer.done_reason, answer.eval_count, answer.message.content) == ("length", 12, "")
    assert answer.message.thinking


def test_tools_are_called_and_their_results_reach_the_model(
    client: ollama.Client, says: Script
) -> None:
    says(f"{THOUGHT}One moment.\n{tool_call('Paris')}\n{tool_call('Oslo')}")
    answer = client.chat("mock", ASKED, tools=[weather])
    calls = answer.message.tool_calls or []
    assert [one.function.arguments for one in calls] == [{"city": "Paris"}, {"city": "Oslo"}]
    assert answer.message.content == "One moment."
    assert answer.done_reason == "stop"

    says("It is warm.")
    results = [
        {"role": "tool", "content": weather(**one.function.arguments), "tool_name": "weather"}
        for one in calls
    ]
    last = client.chat("mock", [*ASKED, answer.message, *results], tools=[weather])
    assert last.message.content == "It is warm."
    assert (last.prompt_eval_count or 0) > (answer.prompt_eval_count or 0)


def test_calls_stream_in_one_piece_and_text_before_them_at_once(
    client: ollama.Client, says: Script
) -> None:
    talk = "One moment, please. " * 20 + "So."
    says(f"{talk}\n{tool_call('Paris')}\n{tool_call('Oslo')}")
    chunks = list(client.chat("mock", ASKED, tools=[weather], think=False, stream=True))
    called = [at for at, chunk in enumerate(chunks) if chunk.message.tool_calls]
    said = [at for at, chunk in enumerate(chunks) if chunk.message.content]
    assert len(called) == 2
    assert len(said) > 1
    assert said[-1] < called[0]
    assert "".join(chunks[at].message.content or "" for at in said) == talk
    assert (chunks[-1].done, chunks[-1].done_reason) == (True, "stop")


def test_an_invalid_call_is_text(client: ollama.Client, says: Script) -> None:
    broken = '<tool_call>\n{"name": "weather", "arguments": {"city": }}\n</tool_call>'
    says(broken)
    message = client.chat("mock", ASKED, tools=[weather], think=False).message
    assert (message.content, message.tool_calls) == (broken, None)


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_follows_a_schema(client: ollama.Client, says: Script, stream: bool) -> None:
    says(f'{THOUGHT}Here you are:\n```json\n{{"name": "Rex", "age": 3}}\n```')
    form = Pet.model_json_schema()
    answer = client.chat("mock", ASKED, format=form, stream=stream)
    chunks = list(answer) if stream else [answer]
    text = "".join(chunk.message.content or "" for chunk in chunks)
    assert Pet.model_validate_json(text) == Pet(name="Rex", age=3)
    assert "".join(chunk.message.thinking or "" for chunk in chunks) == "I need the weather.\n"


def test_an_answer_that_is_not_json_is_sent_anyway(client: ollama.Client, says: Script) -> None:
    says("I would rather not.")
    assert client.generate("mock", "A pet?", format="json").response == "I would rather not."
    says('{"a": 1} or so')
    assert json.loads(client.generate("mock", "A pet?", format="json").response or "") == {"a": 1}
