"""Checks the pictures that clients send, by their bytes and not by what is said of them.

Only the header is read: the vendor's program decodes.  What it gets is a file of a kind that we
know, with a size in pixels that it can bear.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace

from axproxy.errors import ClientError
from axproxy.messages import Message, Picture, PictureKind

MOST_PICTURES = 8  # in one request
LARGEST = 8 << 20  # bytes of a file
MOST_PIXELS = 50_000_000  # a decoded picture takes four bytes for each
LONGEST_SIDE = 16_384  # pixels

_Size = tuple[int, int]


class Media:
    """Collects what is not text in the messages of one request.

    `kinds` are the kinds in their order: `images`, `audio`, `documents`.  An image is kept as the
    client's base64 until it is known that the model can see.
    """

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self._images: dict[int, list[str]] = {}
        self._present: list[str] = []

    def add(self, kind: str) -> None:
        """Note something that no model here can take."""
        self.kinds.append(kind)

    def add_image(self, text: str) -> None:
        """Keep an image of the message that is being read."""
        self.kinds.append("images")
        self._present.append(text)

    @property
    def waits(self) -> bool:
        """Whether an image of the message that is being read is kept."""
        return bool(self._present)

    def end_message(self, index: int) -> None:
        """Give the images kept since the last call to the message with this index."""
        self._images.setdefault(index, []).extend(self._present)
        self._present = []

    def with_pictures(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return the messages with their pictures, decoded.  Raises `ClientError`."""
        if not self.kinds:
            return tuple(messages)
        if sum(map(len, self._images.values())) > MOST_PICTURES:
            raise ClientError(f"there are more than {MOST_PICTURES} images; send fewer")
        return tuple(
            replace(turn, pictures=tuple(map(picture_from, self._images.get(index, ()))))
            for index, turn in enumerate(messages)
        )


def picture_from(text: str) -> Picture:
    """Return the picture in this base64; blanks are allowed.  Raises `ClientError`."""
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ClientError("invalid image input") from error
    return picture_of(data)


def picture_of(data: bytes) -> Picture:
    """Return the picture in the bytes of a file.  Raises `ClientError`."""
    if len(data) > LARGEST:
        raise ClientError(f"an image has more than {LARGEST >> 20} MiB; send a smaller one")
    for kind, begins, size_of in _KINDS:
        if begins(data):
            width, height = _size(data, size_of)
            return Picture(kind, data, width, height)
    raise ClientError("an image is not PNG, JPEG, WebP, GIF or BMP; convert it")


def _size(data: bytes, size_of: Callable[[bytes], _Size]) -> _Size:
    try:
        width, height = size_of(data)
    except (struct.error, IndexError) as error:
        raise ClientError("an image is cut short; send it again") from error
    if width < 1 or height < 1:
        raise ClientError("an image has no pixels; send another one")
    if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDE:
        raise ClientError(
            f"an image of {width} x {height} pixels is too large; make it smaller than "
            f"{MOST_PIXELS // 1_000_000} million pixels"
        )
    return width, height


def _png(data: bytes) -> _Size:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> _Size:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> _Size:
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # negative where the rows begin at the top


def _jpeg(data: bytes) -> _Size:
    """Return the size in the first frame header (ITU-T T.81, B.2.2)."""
    at = 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:
            at += 1
        marker, length = struct.unpack_from(">HH", data, at)
        if marker >> 8 != 0xFF or length < 2:
            raise IndexError
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + length


def _webp(data: bytes) -> _Size:
    match data[12:16]:
        case b"VP8X":
            (low, high) = struct.unpack_from("<IH", data, 24)
            packed = low | high << 32
            return (packed & 0xFFFFFF) + 1, (packed >> 24) + 1
        case b"VP8L":
            (packed,) = struct.unpack_from("<I", data, 21)
            return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
    raise IndexError


_KINDS: tuple[tuple[PictureKind, Callable[[bytes], bool], Callable[[bytes], _Size]], ...] = (
    ("png", lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"), _png),
    ("jpeg", lambda data: data.startswith(b"\xff\xd8\xff"), _jpeg),
    ("gif", lambda data: data.startswith((b"GIF87a", b"GIF89a")), _gif),
    ("bmp", lambda data: data.startswith(b"BM"), _bmp),
    ("webp", lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP", _webp),
)
