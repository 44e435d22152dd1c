"""Base64 as Go reads it: strictly, with the place of the first error."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.api.gojson.syntax import corrupt_at


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", None),
        ("QUJD", None),
        ("QUI=", None),
        ("QQ==", None),
        ("QU\nJD\r\n", None),
        ("QQ=\n=\n", None),
        ("\n", None),
        ("!", 0),
        ("QUJ!", 3),
        ("data:image/png;base64,QUJD", 4),
        ("QUJD ", 4),
        ("QU-_", 2),
        ("QUé", 2),
        ("Q", 0),
        ("QUJDQ", 4),
        ("QUJDQU", 4),
        ("QUJDQUI", 4),
        ("=", 0),
        ("Q===", 1),
        ("QQ=", 3),
        ("QQ=A", 2),
        ("QQ==QQ==", 4),
        ("QUI=\nQ", 5),
    ],
)
def test_the_place_of_the_first_error_is_found(text: str, at: int | None) -> None:
    assert corrupt_at(text) == at


@given(st.binary(max_size=40))
def test_base64_of_an_encoder_is_never_corrupt(data: bytes) -> None:
    assert corrupt_at(base64.b64encode(data).decode()) is None
    assert corrupt_at(base64.encodebytes(data).decode()) is None
