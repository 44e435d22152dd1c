"""Hands pictures to the program: as data URIs that are made here.

The program opens every other address as a file of this machine (read in AXERA-TECH/ax-llm), so no
word of a client may become a part of one: only the bytes of a checked picture and our name of its
kind do.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from axproxy.messages import ChatRequest, Message, Picture
from axproxy.prompts.program_messages import ProgramMessage

# The image encoders of published models make 144 to 256 tokens of a picture.
PICTURE_TOKENS = 258
_MARK = "\ufdd1"  # a noncharacter: it stands for a picture while the conversation is rendered
_MARKED = re.compile(f"{_MARK}(\\d+){_MARK}")


def marked(request: ChatRequest) -> tuple[ChatRequest, list[Picture]]:
    """Return the request with a mark for each picture, and the pictures by the marks' numbers.

    So a picture stays with its turn, whatever turns are left out and wherever the template puts it.
    """
    pictures: list[Picture] = []
    turns = []
    for turn in request.messages:
        first = len(pictures)
        pictures += turn.pictures
        marks = "".join(f"{_MARK}{number}{_MARK}" for number in range(first, len(pictures)))
        turns.append(replace(turn, content=marks + _without_marks(turn), pictures=()))
    return (replace(request, messages=tuple(turns)), pictures) if pictures else (request, [])


def message_json(message: ProgramMessage, pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return a message as the program reads it, with the pictures that its text has marks of."""
    numbers = [int(found) for found in _MARKED.findall(message.content)] if pictures else []
    if not numbers:
        return message.as_json()
    text = _MARKED.sub("", message.content)
    seen = [
        {"type": "image_url", "image_url": {"url": data_uri(pictures[number])}}
        for number in numbers
        if number < len(pictures)
    ]
    return {"role": message.role, "content": [*seen, {"type": "text", "text": text}]}


def data_uri(picture: Picture) -> str:
    """Return the picture as an address that holds its bytes."""
    return f"data:image/{picture.kind};base64,{base64.b64encode(picture.data).decode()}"


def _without_marks(turn: Message) -> str:
    return turn.content.replace(_MARK, "\ufffd")
