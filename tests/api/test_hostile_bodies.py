"""Every body is answered in JSON, on every route, and none makes the service fail."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axproxy.engine.protocol import Gone
from axproxy.engine.request_limits import check_size
from axproxy.messages import ChatRequest
from axproxy.models.model import Model
from axproxy.models.tokenizer_files import SMALL_TOKENIZER
from axproxy.prompts.fitting import Window
from axproxy.prompts.renderer import TemplateRenderer
from axproxy.runtimes.main_api.client import sampling_keys
from axproxy.settings import Settings
from axproxy.tokenizer.tokenizer import TextTokenizer
from backend import create_app
from tests.support.fakes import QWEN, FakeAnswer, FakeEngine, FakeModels
from tests.support.simulated import Card

OLLAMA = "generate chat show pull push copy create embed embeddings"
OPENAI = "chat/completions completions responses messages"
POSTS = [
    "/generate",
    "/load",
    *(f"/api/{name}" for name in OLLAMA.split()),
    *(f"/v1/{name}" for name in OPENAI.split()),
]
JSON_TYPES = ("application/json", "application/x-ndjson", "text/event-stream")
# Ollama answers these faults of its clients with 500, and so does this service.
OLLAMAS_OWN = ('option "', "invalid format: ", "pull model manifest: ")


CONFIG = json.loads((SMALL_TOKENIZER / "tokenizer_config.json").read_text())
TOKENIZER: Any = Card(template=CONFIG["chat_template"])
TOKENIZER.detokenize = TextTokenizer.load(
    SMALL_TOKENIZER
).spell  # ids of a request may be any numbers
PROMPTS = TemplateRenderer(TOKENIZER, TOKENIZER.info())


class PromptingEngine(FakeEngine):
    """Turns every request into what the runtime would get: a prompt and sampling keys."""

    def answer(self, model: Model, request: ChatRequest, gone: Gone) -> FakeAnswer:
        check_size(request)
        prompt = PROMPTS.render(request, Window(context=1023, prefill_limit=500))
        assert "\0" not in prompt.text
        prompt.text.encode()
        json.dumps(sampling_keys(request.sampling), allow_nan=False)
        return FakeAnswer(self.script)


APP = create_app(
    Settings(),
    PromptingEngine(),
    FakeModels(replace(QWEN, capabilities=("completion", "tools", "thinking"))),
)

names = st.sampled_from(
    "model name prompt messages role content options stop stream system raw keep_alive images "
    "temperature top_k top_p max_tokens num_predict repeat_penalty repetition_penalty model_path "
    "think format context source input tools function arguments tool_calls tool_call_id type text "
    "response_format stream_options include_usage max_completion_tokens n seed suffix "
    "instructions output output_config effort schema thinking".split()
)
texts = st.one_of(
    st.text(max_size=5),
    st.sampled_from(
        "\0 a\0b \ud800 \ufffd <|im_start|>system qwen3:0.6b user system assistant tool json "
        "json_object 5m -1 ../../etc/passwd".split(" ")
    ),
)
numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([-0.0, 1e308, 5e-324, 2**31, 2**63, 2**64, -(2**63) - 1, 10**300, 0.1, 1]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    scalars | names,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(names | texts, inner, max_size=4)
    ),
    max_leaves=12,
)
roles = st.sampled_from(["user", "system", "assistant", "tool"])
parts = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            "text input_text output_text input_image input_file image document thinking tool_use "
            "tool_result".split()
        )
    },
    optional={
        "text": texts,
        "thinking": texts,
        "id": texts,
        "name": texts,
        "input": values,
        "content": texts | values,
        "tool_use_id": texts,
        "is_error": scalars,
        "source": values,
        "image_url": texts,
    },
)
functions = st.fixed_dictionaries(
    {"name": texts}, optional={"description": texts, "parameters": values, "arguments": values}
)
tools = st.fixed_dictionaries({"type": st.just("function"), "function": functions})
turns = st.fixed_dictionaries(
    {"role": roles},
    optional={
        "content": texts | values | st.lists(parts, max_size=3),
        "thinking": texts,
        "tool_calls": values | st.lists(tools, max_size=2),
        "tool_name": texts,
        "tool_call_id": texts,
        "images": values,
    },
)
items = st.fixed_dictionaries(
    {"type": st.sampled_from("message function_call function_call_output reasoning".split())},
    optional={
        "role": roles,
        "content": texts | st.lists(parts, max_size=3),
        "call_id": texts,
        "name": texts,
        "arguments": texts | st.just("{}"),
        "output": texts | st.lists(parts, max_size=3),
        "summary": values,
        "encrypted_content": texts,
    },
)
likely = st.fixed_dictionaries(
    {"model": st.just("qwen3:0.6b")},
    optional={
        "prompt": texts,
        "input": texts | st.lists(items, max_size=4),
        "instructions": texts,
        "system": texts | st.lists(parts, max_size=2),
        "messages": st.lists(turns, max_size=4),
        "options": st.dictionaries(names, scalars, max_size=4),
        "stop": texts | st.lists(texts, max_size=3),
        "temperature": numbers,
        "top_p": numbers,
        "top_k": numbers,
        "max_tokens": numbers | st.just(9),
        "stream": st.booleans(),
        "keep_alive": numbers | texts,
        "tools": st.lists(values | tools, max_size=2),
        "tool_choice": values,
        "response_format": values,
        "context": st.lists(numbers, max_size=4),
        "format": values,
        "think": scalars,
    },
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a likely body with some of its bytes removed, doubled or replaced."""
    body = json.dumps(draw(likely)).encode()
    at = draw(st.integers(0, len(body)))
    to = min(at + draw(st.integers(0, 5)), len(body))
    return body[:at] + draw(st.sampled_from([b"", body[at:to] * 2, b"\xff", b"\0"])) + body[to:]


bodies = st.one_of(
    st.binary(max_size=40),
    values.map(lambda value: json.dumps(value).encode()),
    likely.map(lambda value: json.dumps(value).encode()),
    likely.map(lambda value: json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")),
    damaged(),
)


def send(path: str, body: bytes) -> None:
    reply = APP.test_client().post(path, data=body)
    reply.close()  # as a server does

    assert reply.content_type.removesuffix("; charset=utf-8") in JSON_TYPES
    lines = [line for line in reply.data.splitlines() if line and not line.startswith(b"event: ")]
    events = [line.removeprefix(b"data: ") for line in lines]
    objects = [json.loads(event) for event in events if event != b"[DONE]"]
    assert all(isinstance(found, dict) for found in objects)
    assert "Traceback" not in reply.text
    if reply.status_code >= 500:
        assert objects[0]["error"].startswith(OLLAMAS_OWN)


@pytest.mark.parametrize("path", POSTS)
@settings(
    suppress_health_check=[HealthCheck.too_slow],
    deadline=None,
    max_examples=settings().max_examples // 4,  # because there are many routes
)
@given(body=bodies)
def test_every_body_is_answered_in_json_and_never_with_our_error(path: str, body: bytes) -> None:
    send(path, body)


BOMBS = {
    "deep arrays": b"[" * 150_000,
    "deep objects": b'{"model":' * 100_000,
    "many arrays": b'{"model":"qwen3:0.6b","tools":[' + b"[]," * 900_000 + b"[]]}",
    "many messages": b'{"model":"qwen3:0.6b","messages":[' + b"{}," * 60_000 + b"{}]}",
    "a long name": b'{"model":"' + b"a/" * 1_000_000 + b'"}',
    "a long digest": b'{"model":"qwen3:0.6b' + b"@a" * 1_000_000 + b'"}',
    "a long path": b'{"model_path":"' + b"/a" * 1_000_000 + b'"}',
    "a long time": b'{"keep_alive":"' + b"1" * 1_000_000 + b'h"}',
    "a long number": b'{"temperature":' + b"1" * 1_000_000 + b"}",
    "control tokens": b'{"model":"qwen3:0.6b","prompt":"' + b"<|im_start|>" * 100_000 + b'"}',
    "escapes": b'{"model":"qwen3:0.6b","prompt":"' + b"\\ud800" * 300_000 + b'"}',
    "stop strings": b'{"model":"qwen3:0.6b","prompt":"Hi","stop":[' + b'"a",' * 9_000 + b'"a"]}',
}


@pytest.mark.parametrize("path", ["/generate", "/load", "/api/chat", "/v1/chat/completions"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_body_made_to_exhaust_the_parser_is_answered(path: str, bomb: str) -> None:
    send(path, BOMBS[bomb])
