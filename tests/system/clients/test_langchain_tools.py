"""LangChain's tools and structured output against the whole stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ollama
import pydantic
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_ollama import ChatOllama

from tests.support.scripted import Scripted

pytestmark = pytest.mark.integration

QUESTION = "What is the weather in Paris?"
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'

Make = Callable[..., ChatOllama]


def weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: 21 degrees"


class Pet(pydantic.BaseModel):
    """A pet."""

    name: str
    age: int


@pytest.fixture
def make(scripted_service: Scripted) -> Iterator[Make]:
    """Make models; close their connections, which LangChain never does."""
    clients: list[ollama.Client] = []

    def made(**fields: Any) -> ChatOllama:
        base = scripted_service.service.base
        client = {"trust_env": False, "timeout": 30}
        model = ChatOllama(model="mock", base_url=base, client_kwargs=client, **fields)
        clients.append(model._client)  # it has no public name
        return model

    yield made
    for client in clients:
        client.close()


def test_a_tool_is_called_and_answers(make: Make, scripted_service: Scripted) -> None:
    model = make(reasoning=False).bind_tools([weather])
    scripted_service.says(f"One moment.\n{CALL}")
    asked = HumanMessage(QUESTION)
    answer = model.invoke([asked])
    (call,) = answer.tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Paris"})
    assert answer.content == "One moment."

    scripted_service.says("It is warm.")
    result = ToolMessage(weather(**call["args"]), tool_call_id=call["id"])
    assert model.invoke([asked, answer, result]).content == "It is warm."


def test_a_call_streams(make: Make, scripted_service: Scripted) -> None:
    scripted_service.says(f"<think>Hm.</think>{CALL}\n{CALL}")
    whole: AIMessageChunk | None = None
    for chunk in make(reasoning=True).bind_tools([weather]).stream(QUESTION):
        whole = chunk if whole is None else whole + chunk
    assert whole
    assert [call["args"] for call in whole.tool_calls] == [{"city": "Paris"}] * 2
    assert whole.additional_kwargs["reasoning_content"] == "Hm."


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("json_schema", '```json\n{"name": "Rex", "age": 3}\n```'),
        ("json_mode", 'Sure: {"name": "Rex", "age": 3}'),
        (
            "function_calling",
            '<tool_call>{"name": "Pet", "arguments": {"name": "Rex", "age": 3}}</tool_call>',
        ),
    ],
)
def test_output_has_a_structure(
    make: Make, scripted_service: Scripted, method: str, said: str
) -> None:
    scripted_service.says(f"<think>\nHm.\n</think>\n\n{said}")
    model = make(reasoning=True).with_structured_output(Pet, method=method)
    assert model.invoke("Which pet?") == Pet(name="Rex", age=3)
