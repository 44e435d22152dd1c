"""What every runtime promises the dialects, through the engine above it.

The same tests run on a made-up runtime that reads text, on one that reads messages, on the vendor's
two programs, `main_api` and `axllm`, with their simulators, and on PyAXEngine with a stand-in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from axproxy.engine.engine import SerialEngine
from axproxy.engine.protocol import EngineOptions, Gone
from axproxy.engine.runtime import Timeouts
from axproxy.errors import ClientError, ClientGone, PromptTooLong
from axproxy.messages import (
    ChatRequest,
    Event,
    Finished,
    Limits,
    Message,
    Text,
    Thinking,
    ToolCall,
)
from axproxy.models.description import describe_model
from axproxy.models.model import Model
from axproxy.settings import Settings
from backend import axengine_engine, create_engine, described_model
from runtime_supervisor import RuntimeSupervisor
from tests.support.axengine_models import FAKE, write_scripted_model
from tests.support.engines import engine_on
from tests.support.ports import own_port
from tests.support.runtimes import Clients, FakeSupervisor, MessagesRuntime, TextRuntime
from tests.support.waiting import eventually

MODEL = describe_model(Settings.from_env({}))
TOOL = {"type": "function", "function": {"name": "pets", "parameters": {}}}
CALL = '<tool_call>\n{"name": "pets", "arguments": {"n": 1}}\n</tool_call>'
FAST = "--load-seconds 0.1 --tokens-per-second 2000 --prefill-tokens-per-second 0"
QUICK = "--load-seconds 0.1 --tokens-per-second 300 --prefill-tokens-per-second 0"


@dataclass
class Bench:
    """An engine on one runtime; `reply` decides what its program answers next."""

    engine: SerialEngine[Any]
    reply: Callable[[str], None]

    def events(self, request: ChatRequest, gone: Gone = lambda: False) -> list[Event]:
        answer = self.engine.answer(MODEL, request, gone)
        try:
            return list(answer)
        finally:
            answer.close()

    def text(self, request: ChatRequest) -> str:
        return "".join(event.text for event in self.events(request) if isinstance(event, Text))

    def close(self) -> None:
        self.engine.stop()


def fake_bench(runtime: TextRuntime | MessagesRuntime) -> Bench:
    def reply(text: str) -> None:
        runtime.reply = text

    engine: SerialEngine[Any] = SerialEngine(runtime, FakeSupervisor(), MODEL, EngineOptions())
    engine.start()
    return Bench(engine, reply)


def main_api_bench(folder: Path) -> Bench:
    answer = folder / "answer"
    answer.write_text("Hello")
    settings = Settings.from_env(
        {
            "AX650_MOCK_ARGS": f"{QUICK} --reply-file {answer}",
            "AX650_RUNTIME_PORT": str(own_port()),
            "AX650_TOKENIZER_PORT": str(own_port()),
        }
    )
    bench = Bench(
        engine_on(settings, RuntimeSupervisor(settings)), lambda text: _write(answer, text)
    )
    bench.engine.start()
    eventually(lambda: bench.engine.not_ready() is None)
    return bench


def axllm_bench(folder: Path) -> Bench:
    answer = folder / "answer"
    answer.write_text("Hello")
    settings = Settings.from_env(
        {
            "AX650_RUNTIME": "mock-axllm",
            "AX650_MOCK_ARGS": f"{FAST} --reply-file {answer}",
            "AX650_RUNTIME_PORT": str(own_port()),
        }
    )
    engine, _ = create_engine(settings)
    engine.start()
    eventually(lambda: engine.not_ready() is None)
    return Bench(engine, lambda text: _write(answer, text))


def axengine_bench(folder: Path) -> Bench:
    reply = write_scripted_model(folder)
    settings = Settings.from_env(
        {
            "AX650_RUNTIME": "axengine",
            "AX650_MODEL_NAME": "mock",
            "AX650_MODEL_PATH": str(folder),
            "AX650_AXENGINE_PATH": str(FAKE),
            "AX650_AXENGINE_PROVIDER": "board",
            "AX650_TOKENIZER_PORT": str(own_port()),
        }
    )
    engine = axengine_engine(settings, Timeouts(), described_model(settings))
    engine.start()
    eventually(lambda: engine.not_ready() is None)
    return Bench(engine, reply)


def _write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.fixture(scope="module", params=["text", "messages", "main_api", "axllm", "axengine"])
def any_runtime(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    match request.param:
        case "text":
            bench = fake_bench(TextRuntime())
        case "messages":
            bench = fake_bench(MessagesRuntime())
        case "axllm":
            bench = axllm_bench(tmp_path_factory.mktemp("axllm"))
        case "axengine":
            bench = axengine_bench(tmp_path_factory.mktemp("axengine"))
        case _:
            bench = main_api_bench(tmp_path_factory.mktemp("main_api"))
    yield bench
    bench.close()


@pytest.fixture
def bench(any_runtime: Bench) -> Bench:
    any_runtime.reply("Hello")
    return any_runtime


def asking(words: str, **fields: Any) -> ChatRequest:
    return replace(ChatRequest((Message("user", words),), think=False), **fields)


def test_an_answer_is_its_text_and_one_ending_with_counts(bench: Bench) -> None:
    bench.reply("The sky scatters blue light.")
    *events, finished = bench.events(asking("Why?"))

    assert "".join(event.text for event in events if isinstance(event, Text)) == (
        "The sky scatters blue light."
    )
    assert isinstance(finished, Finished)
    assert finished.reason == "stop"
    assert finished.usage.prompt_tokens > 0
    assert finished.usage.completion_tokens > 1
    assert finished.usage.total >= finished.usage.eval >= 0


def test_text_comes_in_pieces_while_the_model_still_answers(bench: Bench) -> None:
    bench.reply("one two three four five six seven eight nine ten " * 3)
    answer = bench.engine.answer(MODEL, asking("Count."), lambda: False)
    first = next(event for event in answer if event != Text(""))

    assert isinstance(first, Text)
    assert "ten" not in first.text
    assert bench.engine.health().queue.answering
    answer.close()


@pytest.mark.parametrize("most", [1, 2, 5])
def test_max_tokens_is_met_exactly_and_the_reason_is_length(bench: Bench, most: int) -> None:
    bench.reply("a b c d e f g h i j k l m n o p")
    finished = bench.events(asking("Letters?", limits=Limits(max_tokens=most)))[-1]

    assert isinstance(finished, Finished)
    assert (finished.reason, finished.usage.completion_tokens) == ("length", most)


def test_a_stop_string_ends_the_answer_and_no_part_of_it_is_sent(bench: Bench) -> None:
    bench.reply("one two STOP three")

    assert bench.text(asking("Count.", limits=Limits(stop=("STOP",)))) == "one two "


def test_thinking_is_set_apart_from_the_answer(bench: Bench) -> None:
    bench.reply("<think>\nHm.\n</think>\n\nBecause.")
    events = bench.events(asking("Why?", think=True))

    thinking = "".join(event.text for event in events if isinstance(event, Thinking))
    assert thinking.strip() == "Hm."
    assert "".join(event.text for event in events if isinstance(event, Text)) == "Because."


def test_tool_calls_are_parsed_where_tools_are_on_offer(bench: Bench) -> None:
    bench.reply(f"One moment.\n{CALL}")
    events = bench.events(asking("Which pets?", tools=(TOOL,)))

    calls = [event for event in events if isinstance(event, ToolCall)]
    assert [(call.name, call.arguments) for call in calls] == [("pets", {"n": 1})]
    assert CALL in bench.text(asking("Which pets?"))


def test_an_answer_that_must_call_a_tool_is_tried_twice_before_it_is_sent_as_prose(
    bench: Bench,
) -> None:
    bench.reply("I would rather talk.")
    forced = asking("Which pets?", tools=(TOOL,), must_call=True)
    texts = [e.text for e in bench.events(forced) if isinstance(e, Text) and e.text]
    assert texts == ["I would rather talk."]

    bench.reply(CALL)
    calls = [event for event in bench.events(forced) if isinstance(event, ToolCall)]
    assert [call.name for call in calls] == ["pets"]


@pytest.mark.parametrize(
    "fields",
    [{}, {"think": True}, {"tools": (TOOL,), "must_call": True}, {"format": "json"}],
    ids=str,
)
def test_a_prompt_has_as_many_tokens_as_its_answer_says(
    bench: Bench, fields: dict[str, Any]
) -> None:
    bench.reply(CALL if "tools" in fields else '{"a": 1}')
    request = asking(f"What has {len(str(fields))} legs?", **fields)
    counted = bench.engine.count_tokens(MODEL, request, lambda: False)
    finished = bench.events(request)[-1]

    assert isinstance(finished, Finished)
    assert counted == finished.usage.prompt_tokens


def test_tokens_are_counted_while_the_card_answers_and_while_the_model_is_away(
    bench: Bench,
) -> None:
    request = asking("Why is the sky blue?")
    before = bench.engine.count_tokens(MODEL, request, lambda: False)
    bench.reply("first " * 200)
    answer = bench.engine.answer(MODEL, asking("one"), lambda: False)
    next(event for event in answer if event != Text(""))
    assert bench.engine.count_tokens(MODEL, request, lambda: False) == before
    assert bench.engine.health().queue.answering
    answer.close()

    bench.engine.unload(MODEL)
    eventually(lambda: not bench.engine.loaded())
    assert bench.engine.count_tokens(MODEL, request, lambda: False) == before
    assert not bench.engine.loaded()
    bench.reply("Hello")
    assert bench.text(request) == "Hello"


def test_what_cannot_be_answered_is_not_counted(bench: Bench) -> None:
    with pytest.raises(PromptTooLong):
        bench.engine.count_tokens(MODEL, asking("word " * 20_000), lambda: False)
    many = asking("Hi", limits=Limits(stop=("x",) * 100))
    with pytest.raises(ClientError, match="stop strings"):
        bench.engine.count_tokens(MODEL, many, lambda: False)


def test_an_answer_in_a_format_is_one_piece_of_json(bench: Bench) -> None:
    bench.reply('Here it is:\n```json\n{"name": "Rex"}\n```')
    texts = [
        event.text
        for event in bench.events(asking("Which pet?", format="json"))
        if isinstance(event, Text) and event.text
    ]

    assert texts == ['{"name": "Rex"}']


def test_closing_in_mid_answer_leaves_nothing_for_the_next(bench: Bench) -> None:
    bench.reply("first " * 200)
    answer = bench.engine.answer(MODEL, asking("one"), lambda: False)
    next(event for event in answer if event != Text(""))
    answer.close()
    answer.close()

    assert not bench.engine.health().queue.answering
    bench.reply("second")
    assert bench.text(asking("two")) == "second"


def test_a_client_that_leaves_ends_its_answer_only(bench: Bench) -> None:
    bench.reply("first " * 200)
    looks = iter([False] * 5)
    with pytest.raises(ClientGone):
        bench.events(asking("one"), lambda: next(looks, True))

    bench.reply("second")
    assert bench.text(asking("two")) == "second"


def test_requests_at_the_same_time_are_answered_one_by_one_and_never_mixed(bench: Bench) -> None:
    bench.reply("the same words for each of them, whole and in order")
    texts: list[str] = []
    clients = Clients()
    for number in range(4):
        clients.start(lambda number=number: texts.append(bench.text(asking(f"client {number}"))))
    clients.join()

    assert texts == ["the same words for each of them, whole and in order"] * 4


def test_a_prompt_that_cannot_fit_is_refused_before_anything_runs(bench: Bench) -> None:
    with pytest.raises(PromptTooLong) as refused:
        bench.engine.answer(MODEL, asking("word " * 20_000), lambda: False)
    assert refused.value.tokens
    assert refused.value.limit
    assert refused.value.tokens > refused.value.limit
    assert bench.text(asking("Hi")) == "Hello"


def test_an_unloaded_model_is_loaded_by_the_next_request(bench: Bench) -> None:
    assert bench.engine.loaded()
    bench.engine.unload(MODEL)
    eventually(lambda: not bench.engine.loaded())

    assert bench.engine.not_ready() is None  # a request sent now would run, after a load
    assert bench.text(asking("Hi")) == "Hello"
    assert bench.engine.loaded()[0].model.name == MODEL.name


def test_health_has_the_same_keys_for_every_runtime(bench: Bench) -> None:
    body = bench.engine.health().as_json()

    assert list(body) == [
        "model",
        "model_path",
        "status",
        "backend_type",
        "model_loaded",
        "context_length",
        "runtime",
        "tokenizer",
        "device",
        "host",
        "preflight",
        "queue",
        "kv_cache",
        "version",
    ]
    assert body["status"] == "ok"


def test_the_context_length_is_the_programs_own(bench: Bench) -> None:
    assert bench.engine.context_length() == 2559
    model: Model = bench.engine.loaded()[0].model
    assert model.context_length == 2559
