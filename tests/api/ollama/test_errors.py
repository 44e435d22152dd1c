"""Ollama's errors: the request, the status and the message, one line each."""

# ruff: noqa: E501 - a table has one line for each row
from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from axproxy.errors import (
    Busy,
    RuntimeGone,
)
from tests.support.fakes import FakeEngine

CHAT, GENERATE, SHOW = "/api/chat", "/api/generate", "/api/show"
EMBED, EMBEDDINGS = "/api/embed", "/api/embeddings"
PULL, PUSH, CREATE, COPY, DELETE = (
    f"/api/{verb}" for verb in ("pull", "push", "create", "copy", "delete")
)

OURS = '"model":"qwen3:0.6b"'
HI = '"messages":[{"role":"user","content":"Hi"}]'
HERE = "; this service has 'qwen3:0.6b'"
FULL = "registry.ollama.ai/library/qwen3:0.6b"
THINK = '"high", "medium", "low", "max", true, or false'


def misfit(found: str, what: str, go_type: str) -> str:
    return f"json: cannot unmarshal {found} into Go struct field {what} of type {go_type}"


def not_a_struct(found: str, struct: str) -> str:
    return f"json: cannot unmarshal {found} into Go value of type api.{struct}"


def bad_format(value: str) -> str:
    return f'invalid format: {value}; expected "json" or a valid JSON Schema object'


NOT_PULLED = (
    "'qwen3:0.6b' was not pulled, so it stays; remove its folder /models/qwen3-0.6b yourself"
)
NO_STORE = "there is no store for models; set AX650_MODELS_DIR to a folder"
NO_FILES = "only models for these cards can be used, so none is made of files; use FROM and a name"


# fmt: off
BODIES = [
    (CHAT, "", 400, "missing request body"),
    (GENERATE, "  ", 400, "missing request body"),
    (SHOW, "", 400, "missing request body"),
    (EMBED, "", 400, "missing request body"),
    (PULL, "", 400, "missing request body"),
    (CHAT, "{", 400, "unexpected EOF"),
    (CHAT, "hello", 400, "invalid character 'h' looking for beginning of value"),
    (CHAT, "[]", 400, not_a_struct("array", "ChatRequest")),
    (GENERATE, "3", 400, not_a_struct("number", "GenerateRequest")),
    (SHOW, '"x"', 400, not_a_struct("string", "ShowRequest")),
    (PULL, "true", 400, not_a_struct("bool", "PullRequest")),
]
TYPES = [
    (CHAT, '{"stream":"no"}', misfit("string", "ChatRequest.stream", "bool")),
    (CHAT, '{"model":1}', misfit("number", "ChatRequest.model", "string")),
    (CHAT, '{"messages":{}}', misfit("object", "ChatRequest.messages", "[]api.Message")),
    (CHAT, '{"messages":["Hi"]}', misfit("string", "ChatRequest.messages", "api.Message")),
    (CHAT, '{"messages":[{"content":[{}]}]}', misfit("array", "ChatRequest.messages.content", "string")),
    (CHAT, '{"messages":[{"thinking":1}]}', misfit("number", "ChatRequest.messages.thinking", "string")),
    (CHAT, '{"messages":[{"tool_calls":{}}]}', misfit("object", "ChatRequest.messages.tool_calls", "[]api.ToolCall")),
    (CHAT, '{"messages":[{"images":[1]}]}', misfit("number", "ChatRequest.messages.images", "api.ImageData")),
    (CHAT, '{"tools":"all"}', misfit("string", "ChatRequest.tools", "api.Tools")),
    (CHAT, '{"tools":["all"]}', misfit("string", "ChatRequest.tools", "api.Tool")),
    (CHAT, '{"tools":[{"type":1}]}', misfit("number", "ChatRequest.tools.type", "string")),
    (CHAT, '{"tools":[{"function":[]}]}', misfit("array", "ChatRequest.tools.function", "api.ToolFunction")),
    (CHAT, '{"tools":[{"function":{"name":{}}}]}', misfit("object", "ChatRequest.tools.function.name", "string")),
    (CHAT, '{"messages":[{"tool_calls":[{"id":1}]}]}', misfit("number", "ChatRequest.messages.tool_calls.id", "string")),
    (CHAT, '{"messages":[{"tool_calls":[{"function":1}]}]}', misfit("number", "ChatRequest.messages.tool_calls.function", "api.ToolCallFunction")),
    (CHAT, '{"messages":[{"tool_calls":[{"function":{"arguments":"x"}}]}]}', misfit("string", "ChatRequest.messages.tool_calls.function.arguments", "api.ToolCallFunctionArguments")),
    (CHAT, '{"messages":[{"tool_calls":[{"function":{"Arguments":[]}}]}]}', misfit("array", "ChatRequest.messages.tool_calls.function.arguments", "api.ToolCallFunctionArguments")),
    (CHAT, '{"truncate":1}', misfit("number", "ChatRequest.truncate", "bool")),
    (CHAT, '{"logprobs":1}', misfit("number", "ChatRequest.logprobs", "bool")),
    (CHAT, '{"top_logprobs":1.5}', misfit("number 1.5", "ChatRequest.top_logprobs", "int")),
    (CHAT, '{"top_logprobs":true}', misfit("bool", "ChatRequest.top_logprobs", "int")),
    (GENERATE, '{"prompt":true}', misfit("bool", "GenerateRequest.prompt", "string")),
    (GENERATE, '{"options":[]}', misfit("array", "GenerateRequest.options", "map[string]interface {}")),
    (GENERATE, '{"context":["a"]}', misfit("string", "GenerateRequest.context", "int")),
    (GENERATE, '{"images":"QUJD"}', misfit("string", "GenerateRequest.images", "[]api.ImageData")),
    (GENERATE, '{"shift":0}', misfit("number", "GenerateRequest.shift", "bool")),
    (EMBED, '{"dimensions":"9"}', misfit("string", "EmbedRequest.dimensions", "int")),
    (PULL, '{"stream":1}', misfit("number", "PullRequest.stream", "bool")),
    (GENERATE, '{"images":["data:image/png;base64,QUJD"]}', "illegal base64 data at input byte 4"),
    (CHAT, '{"messages":[{"images":["!"]}]}', "illegal base64 data at input byte 0"),
    (CHAT, '{"top_logprobs":21}', "top_logprobs must be between 0 and 20"),
    (GENERATE, '{"top_logprobs":-1}', "top_logprobs must be between 0 and 20"),
    (CHAT, '{"think":"banana"}', f'invalid think value: "banana" (must be {THINK})'),
    (GENERATE, '{"think":""}', f'invalid think value: "" (must be {THINK})'),
    (CHAT, '{"think":1}', f"think must be a boolean or string ({THINK})"),
    (CHAT, '{"think":{}}', f"think must be a boolean or string ({THINK})"),
    (CHAT, '{"keep_alive":"banana"}', 'time: invalid duration "banana"'),
    (CHAT, '{"keep_alive":"10"}', 'time: missing unit in duration "10"'),
    (CHAT, '{"keep_alive":"-1"}', 'time: missing unit in duration "-1"'),
    (CHAT, '{"keep_alive":"2562048h"}', 'time: invalid duration "2562048h"'),
    (GENERATE, '{"keep_alive":true}', "Unsupported type: 'bool'"),
    (GENERATE, '{"keep_alive":{}}', "Unsupported type: 'map[string]interface {}'"),
]
CLOUD = "ollama cloud is disabled: remote model is unavailable"
NAMES = [
    (CHAT, "null", 400, "model is required"),
    (CHAT, "{}", 400, "model is required"),
    (CHAT, '{"model":" "}', 400, "model is required"),
    (SHOW, '{"name":""}', 400, "model is required"),
    (PUSH, "{}", 400, "model is required"),
    (EMBEDDINGS, "{}", 400, "model is required"),
    (DELETE, "{}", 400, "model is required"),
    (GENERATE, "{}", 404, "model '' not found" + HERE),
    (EMBED, "{}", 404, "model '' not found" + HERE),
    (PULL, "{}", 400, "invalid model name"),
    (CREATE, "{}", 400, "invalid model name"),
    (COPY, "{}", 400, 'source "" is invalid'),
    (COPY, '{"source":"a"}', 400, 'destination "" is invalid'),
    (CHAT, '{"model":"a b"}', 400, "invalid model name"),
    (GENERATE, '{"model":"a:"}', 400, "invalid model name"),
    (SHOW, '{"model":"-a"}', 400, "invalid model name"),
    (PULL, '{"model":"a/b/c/d"}', 400, "invalid model name"),
    (EMBED, '{"model":"a:b:c"}', 400, "invalid model name"),
    (DELETE, '{"model":"a b"}', 400, 'name "a b" is invalid'),
    (CHAT, '{"model":"nope"}', 404, "model 'nope' not found" + HERE),
    (GENERATE, '{"model":" Nope"}', 404, "model ' Nope' not found" + HERE),
    (GENERATE, '{"model":"qwen3"}', 404, "model 'qwen3' not found" + HERE),
    (GENERATE, '{"model":"nope:local"}', 404, "model 'nope:local' not found" + HERE),
    (SHOW, '{"model":"nope"}', 404, "model 'nope:latest' not found" + HERE),
    (SHOW, '{"model":"library/nope:local"}', 404, "model 'nope:latest' not found" + HERE),
    (SHOW, '{"model":"me/nope:1b"}', 404, "model 'me/nope:1b' not found" + HERE),
    (SHOW, '{"model":"pi/me/nope:1b"}', 404, "model 'pi/me/nope:1b' not found" + HERE),
    (EMBED, '{"model":"nope"}', 404, 'model "nope" not found, try pulling it first' + HERE),
    (EMBEDDINGS, '{"model":"nope"}', 404, 'model "nope" not found, try pulling it first' + HERE),
    (DELETE, '{"model":"nope"}', 404, "model 'nope' not found" + HERE),
    (DELETE, '{"model":"","name":"nope:cloud"}', 404, "model 'nope:cloud' not found"),
    (COPY, '{"source":"nope","destination":"a"}', 404, 'model "nope" not found'),
    (CHAT, '{"model":"qwen3:0.6b:cloud"}', 403, CLOUD),
    (GENERATE, '{"model":"gpt-oss:20b-cloud"}', 403, CLOUD),
    (EMBED, '{"model":"a:Cloud"}', 403, CLOUD),
    (SHOW, '{"model":"a:cloud"}', 403, "ollama cloud is disabled: remote model details are unavailable"),
    (CHAT, '{"model":"a:local:cloud"}', 400, 'use either :local or :cloud, not both: "a:local:cloud"'),
]
ABILITIES = [
    (GENERATE, f'{{{OURS},"prompt":"a","raw":true,"system":"b"}}', 400, "raw mode does not support template, system, or context"),
    (GENERATE, f'{{{OURS},"prompt":"a","raw":true,"template":"b"}}', 400, "raw mode does not support template, system, or context"),
    (GENERATE, f'{{{OURS},"prompt":"a","raw":true,"context":[1]}}', 400, "raw mode does not support template, system, or context"),
    (GENERATE, f'{{{OURS},"prompt":"a","suffix":"b"}}', 400, f"{FULL} does not support insert"),
    (GENERATE, f'{{{OURS},"suffix":"b"}}', 400, f"{FULL} does not support insert"),
    (CHAT, f'{{"model":"Qwen3:0.6b","tools":[{{}}],{HI}}}', 400, f"{FULL} does not support tools"),
    (CHAT, f'{{"model":"Qwen3:0.6b","think":true,{HI}}}', 400, '"Qwen3:0.6b" does not support thinking'),
    (CHAT, f'{{{OURS},"think":"low","tools":[{{}}]}}', 400, '"qwen3:0.6b" does not support thinking'),
    (GENERATE, f'{{{OURS},"think":"max"}}', 400, '"qwen3:0.6b" does not support thinking'),
    (GENERATE, '{"model":"Qwen3:0.6b","prompt":"a","images":["QUJD"]}', 400, '"Qwen3:0.6b" does not support images'),
    (CHAT, f'{{{OURS},"messages":[{{"images":["QUJD"]}}]}}', 400, '"qwen3:0.6b" does not support images'),
    (EMBED, f'{{{OURS},"input":"a"}}', 400, '"qwen3:0.6b" does not support embeddings'),
    (EMBED, f'{{{OURS},"input":["a","b"]}}', 400, '"qwen3:0.6b" does not support embeddings'),
    (EMBED, f"{{{OURS}}}", 400, '"qwen3:0.6b" does not support embeddings'),
    (EMBED, f'{{{OURS},"input":7}}', 400, "invalid input type"),
    (EMBED, f'{{{OURS},"input":["a",7]}}', 400, "invalid input type"),
    (EMBEDDINGS, f'{{{OURS},"prompt":"a"}}', 400, '"qwen3:0.6b" does not support embeddings'),
    (PUSH, f"{{{OURS}}}", 403, "models cannot be pushed from here; copy their folders instead"),
    (DELETE, '{"model":"","name":"qwen3:0.6b"}', 403, NOT_PULLED),
    (COPY, '{"source":"qwen3:0.6b","destination":"a"}', 403, NO_STORE),
    (CREATE, '{"model":"a"}', 400, "neither 'from' or 'files' was specified"),
    (CREATE, '{"model":"a","from":"qwen3:0.6b"}', 403, NO_STORE),
    (CREATE, '{"model":"a","files":{"a":"sha256:b"}}', 403, NO_FILES),
]
OPTIONS = [
    (CHAT, f'{{{OURS},{HI},"options":{{"{name}":{value}}}}}', 500, f'option "{name}" must be of {says}')
    for name, value, says in [
        ("temperature", '"hot"', "type float32"),
        ("temperature", "true", "type float32"),
        ("min_p", "[]", "type float32"),
        ("top_k", "[]", "type integer"),
        ("num_ctx", "false", "type integer"),
        ("seed", '"1"', "type integer"),
        ("use_mmap", "1", "type boolean"),
        ("stop", '"END"', "type array"),
        ("stop", "[1]", "an array of strings"),
    ]
]
FORMATS = [
    (CHAT, f'{{{OURS},{HI},"format":{value}}}', 500, bad_format(says))
    for value, says in [('"yaml"', r'"\"yaml\""'), ("3", '"3"'), ("true", '"true"'), ("[]", '"[]"')]
]
# fmt: on
ERRORS = [
    *BODIES,
    *((path, body, 400, says) for path, body, says in TYPES),
    *NAMES,
    *ABILITIES,
    *OPTIONS,
    *FORMATS,
]


@pytest.mark.parametrize(("path", "body", "status", "says"), ERRORS)
def test_errors_have_ollamas_status_and_words(
    client: FlaskClient, engine: FakeEngine, path: str, body: str, status: int, says: str
) -> None:
    reply = client.open(path, method="DELETE" if path == DELETE else "POST", data=body)

    assert reply.get_json() == {"error": says}
    assert reply.status_code == status
    assert reply.content_type == "application/json; charset=utf-8"
    assert not engine.history
    assert not engine.loads
    assert not engine.unloads


@pytest.mark.parametrize(
    ("error", "stream", "content_type"),
    [
        (RuntimeGone("it died"), "true", "application/json"),
        (RuntimeGone("it died"), "false", "application/json; charset=utf-8"),
        (Busy("full"), "true", "application/json; charset=utf-8"),
    ],
)
def test_only_a_failed_run_at_the_start_of_a_stream_has_no_charset(
    client: FlaskClient, engine: FakeEngine, error: Exception, stream: str, content_type: str
) -> None:
    engine.script = [error]
    reply = client.post(CHAT, data=f'{{{OURS},{HI},"stream":{stream}}}')

    assert reply.content_type == content_type
