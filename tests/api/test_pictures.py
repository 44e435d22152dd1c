"""Pictures in every API: checked by their bytes, refused by models that cannot see."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from axproxy.api.pictures import picture_of
from axproxy.errors import ClientError
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import QWEN, FakeEngine, FakeModels

NAME = "qwen3-vl:2b"
SEES = replace(QWEN, name=NAME, capabilities=("completion", "vision"))


def png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def jpeg(width: int, height: int) -> bytes:
    comment = b"\xff\xfe\x00\x05abc"
    frame = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + bytes(10)
    return b"\xff\xd8" + comment + b"\xff" + frame + b"\xff\xd9"


def webp(width: int, height: int) -> bytes:
    packed = ((width - 1) | (height - 1) << 24).to_bytes(6, "little")
    return b"RIFF\x00\x00\x00\x00WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + packed


def lossless_webp(width: int, height: int) -> bytes:
    packed = struct.pack("<I", (width - 1) | (height - 1) << 14)
    return b"RIFF\x00\x00\x00\x00WEBPVP8L" + struct.pack("<I", 9) + b"\x2f" + packed


def lossy_webp(width: int, height: int) -> bytes:
    head = b"RIFF\x00\x00\x00\x00WEBPVP8 " + struct.pack("<I", 99) + bytes(3)
    return head + b"\x9d\x01\x2a" + struct.pack("<HH", width, height)


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height)


def bmp(width: int, height: int) -> bytes:
    return b"BM" + bytes(16) + struct.pack("<ii", width, -height)


MAKERS = {
    "png": png,
    "jpeg": jpeg,
    "webp": webp,
    "webp lossless": lossless_webp,
    "webp lossy": lossy_webp,
    "gif": gif,
    "bmp": bmp,
}
PICTURE = base64.b64encode(png(40, 30)).decode()
URI = f"data:image/jpeg;base64,{PICTURE}"  # the client says the wrong kind


@pytest.mark.parametrize("kind", MAKERS)
def test_the_kind_and_the_size_are_read_from_the_bytes(kind: str) -> None:
    picture = picture_of(MAKERS[kind](300, 200))

    assert (picture.kind, picture.width, picture.height) == (kind.split(maxsplit=1)[0], 300, 200)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_picture_that_is_cut_short_or_empty_or_a_bomb_is_refused(kind: str) -> None:
    whole = MAKERS[kind](300, 200)
    for length in range(12, len(whole) - 12 if kind == "jpeg" else len(whole)):
        if kind in ("png", "bmp") and length >= 24 + 2 * (kind == "bmp"):
            continue  # the size is there; the rest is the program's to judge
        with pytest.raises(ClientError, match=r"cut short|no pixels|not PNG"):
            picture_of(whole[:length])
    with pytest.raises(ClientError, match="too large"):
        picture_of(MAKERS[kind](16_000, 16_000))


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"<svg></svg>", b"/etc/passwd", b"%PDF-1.7", b"RIFF\0\0\0\0WAVEfmt "],
)
def test_a_file_of_another_kind_is_refused(data: bytes) -> None:
    with pytest.raises(ClientError, match="not PNG, JPEG, WebP, GIF or BMP"):
        picture_of(data)


@given(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM"]), st.binary())
def test_any_bytes_are_a_picture_or_refused(head: bytes, rest: bytes) -> None:
    try:
        picture = picture_of(head + rest)
    except ClientError:
        return
    assert picture.width > 0
    assert picture.height > 0


def turns(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


OLLAMA = [{"role": "user", "content": "What is it?", "images": [PICTURE]}]
TEXT = {"type": "text", "text": "What is it?"}
SOURCE = {"type": "base64", "media_type": "image/gif", "data": PICTURE}
ASKED: dict[str, dict[str, Any]] = {
    "/api/chat": {"messages": OLLAMA},
    "/api/generate": {"prompt": "What is it?", "images": [PICTURE]},
    "/v1/chat/completions": {
        "messages": turns({"type": "image_url", "image_url": {"url": URI}}, TEXT)
    },
    "/v1/responses": {
        "input": turns(
            {"type": "input_image", "image_url": URI},
            {"type": "input_text", "text": "What is it?"},
        )
    },
    "/v1/messages": {"max_tokens": 9, "messages": turns({"type": "image", "source": SOURCE}, TEXT)},
}


@pytest.mark.parametrize("path", ASKED)
def test_a_model_that_sees_gets_the_picture_beside_its_question(path: str) -> None:
    engine = FakeEngine()
    client = create_app(Settings(), engine, FakeModels(SEES)).test_client()
    reply = client.post(path, json={"model": NAME, "stream": False, **ASKED[path]})

    assert reply.status_code == 200
    (request,) = engine.history
    turn = request.messages[-1]
    assert turn.content == "What is it?"
    assert [(picture.kind, picture.width) for picture in turn.pictures] == [("png", 40)]
    assert turn.pictures[0].data == png(40, 30)


@pytest.mark.parametrize("path", ASKED)
def test_a_model_that_reads_only_text_refuses_a_picture(path: str) -> None:
    engine = FakeEngine()
    client = create_app(Settings(), engine, FakeModels()).test_client()
    reply = client.post(path, json={"model": QWEN.name, **ASKED[path]})

    assert reply.status_code == 400
    assert "does not support images" in reply.get_data(as_text=True)
    assert not engine.history


@pytest.fixture
def client() -> FlaskClient:
    return create_app(Settings(), FakeEngine(), FakeModels(SEES)).test_client()


ELSEWHERE = [
    "http://127.0.0.1/a.png",
    "https://x/a.png",
    "/etc/passwd",
    "file:///etc/passwd",
    "a.png",
]


@pytest.mark.parametrize("address", [*ELSEWHERE, "image:/etc/passwd", "data:image/png,x", ""])
def test_an_address_that_holds_no_picture_is_refused(client: FlaskClient, address: str) -> None:
    chat = {"messages": turns({"type": "image_url", "image_url": {"url": address}})}
    reply = client.post("/v1/chat/completions", json={"model": NAME, **chat})
    assert reply.status_code == 400

    source = {"type": "url", "url": address}
    messages = {"max_tokens": 9, "messages": turns({"type": "image", "source": source})}
    assert client.post("/v1/messages", json={"model": NAME, **messages}).status_code == 400


def test_more_pictures_than_a_request_may_have_are_refused(client: FlaskClient) -> None:
    body = {"messages": [{"role": "user", "content": "?", "images": [PICTURE] * 9}]}
    reply = client.post("/api/chat", json={"model": NAME, **body})

    assert reply.status_code == 400
    assert "more than 8 images" in reply.get_json()["error"]
