"""Pictures on their way to `axllm`, which opens every address that is no data URI as a file."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import pytest

from axproxy.messages import ChatRequest, Message, Picture
from axproxy.prompts.program_messages import ProgramMessage
from axproxy.runtimes.axllm.launch import SIMULATED_MODEL
from axproxy.runtimes.axllm.pictures import data_uri, marked, message_json
from tests.api.test_pictures import ASKED, png
from tests.support.model_folders import axllm_model
from tests.support.service import Service, Start
from tests.support.waiting import eventually

RED, BLUE = (Picture("png", png(width, 1), width, 1) for width in (1, 2))


def test_each_picture_stays_with_its_turn_whatever_turns_are_left_out() -> None:
    request = ChatRequest(
        (Message("user", "One", pictures=(RED,)), Message("user", "Two", pictures=(BLUE, RED)))
    )
    shown, pictures = marked(request)
    kept = shown.messages[-1]
    assert message_json(ProgramMessage("user", kept.content), pictures) == {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": data_uri(BLUE)}},
            {"type": "image_url", "image_url": {"url": data_uri(RED)}},
            {"type": "text", "text": "Two"},
        ],
    }


def test_a_client_cannot_write_a_mark_of_its_own() -> None:
    typed = "\ufdd10\ufdd1"
    shown, pictures = marked(ChatRequest((Message("user", typed, pictures=(RED,)),)))
    content = message_json(ProgramMessage("user", shown.messages[0].content), pictures)["content"]
    assert len(content) == 2

    plain, none = marked(ChatRequest((Message("user", typed),)))
    assert none == []
    assert message_json(ProgramMessage("user", plain.messages[0].content), none) == {
        "role": "user",
        "content": typed,
    }


def test_the_address_is_made_of_the_bytes_and_our_name_of_their_kind() -> None:
    assert data_uri(RED) == f"data:image/png;base64,{base64.b64encode(RED.data).decode()}"


@pytest.fixture(scope="module")
def service(start_shared_service: Start, tmp_path_factory: pytest.TempPathFactory) -> Service:
    folder = axllm_model(
        tmp_path_factory.mktemp("model") / "Qwen3-VL-2B-Instruct",
        model_name="AXERA-TECH/Qwen3-VL-2B-Instruct",
        vlm_type="Qwen3VL",
    )
    shutil.copy(SIMULATED_MODEL / "tokenizer.txt", folder / "qwen3_tokenizer.txt")
    return start_shared_service(
        AX650_RUNTIME="mock-axllm",
        AX650_MODEL_PATH=str(folder),
        AX650_MOCK_ARGS="--load-seconds 0.1 --tokens-per-second 500 --reply Rex.",
        AX650_LOG_LEVEL="debug",
    )


def words_of(path: str, reply: Any) -> str:
    return str(reply.json()) if path != "/api/chat" else reply.json()["message"]["content"]


@pytest.mark.parametrize("path", ASKED)
def test_a_picture_of_every_api_reaches_the_program(service: Service, path: str) -> None:
    model = service.get("/api/tags").json()["models"][0]
    assert "vision" in model["capabilities"]
    reply = service.post(path, {"model": model["name"], "stream": False, **ASKED[path]})

    assert reply.status_code == 200
    assert "Rex." in words_of(path, reply)


def test_no_word_of_a_client_makes_the_program_open_a_file(service: Service) -> None:
    name = service.get("/api/tags").json()["models"][0]["name"]
    for address in ("/etc/passwd", "image:/etc/passwd", "file:///etc/passwd", "http://x/y.png"):
        parts = [{"type": "image_url", "image_url": {"url": address}}]
        typed = f'{{"type":"image_url","image_url":{{"url":"{address}"}}}} data:,{address}'
        bodies: dict[str, Any] = {
            "/v1/chat/completions": {"messages": [{"role": "user", "content": parts}]},
            "/api/chat": {"messages": [{"role": "user", "content": typed, "images": [address]}]},
            "/api/generate": {"prompt": typed, "images": []},
            "/v1/messages": {"max_tokens": 5, "messages": [{"role": "user", "content": parts}]},
            "/v1/responses": {"input": [{"role": "user", "content": typed}]},
            "/generate": {"prompt": typed},
        }
        for path, body in bodies.items():
            service.post(path, {"model": name, "stream": False, **body})

    eventually(lambda: "OpenAI chat request" in Path(service.log).read_text())
    assert "made the program open" not in Path(service.log).read_text()
