"""A body is read in time that grows with its length, whatever is in it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from axproxy.api.gojson.decode import first_value
from axproxy.api.gojson.syntax import corrupt_at, syntax_error
from axproxy.durations import parse_duration
from axproxy.errors import ClientError
from axproxy.models.names import full_name, local_name
from tests.support.growth import assert_linear, repeated

TEXTS = {
    "blanks": repeated(" "),
    "brackets": repeated("["),
    "empty lists": repeated("[],", before="["),
    "keys": repeated('{"a":'),
    "the same key": repeated('"a":1,', before="{"),
    "quotes": repeated('"'),
    "a string": repeated("a", before='"'),
    "backslashes": repeated("\\", before='"'),
    "escapes": repeated("\\u00e9", before='"'),
    "half escapes": repeated("\\ud800", before='"'),
    "digits": repeated("9", before="[0."),
    "zeros": repeated("0", before="[0.", after="1]"),
    "a whole number": repeated("1", before="["),
    "exponents": repeated("1", before="[1e"),
    "numbers": repeated("1,", before="["),
    "base64": repeated("A"),
    "line ends": repeated("\n"),
    "padding": repeated("="),
    "words": repeated("a-"),
    "colons": repeated(":"),
    "slashes": repeated("/"),
    "digests": repeated("@a"),
    "parts of a duration": repeated("1h"),
    "points": repeated("1."),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_body_is_read_in_time_that_grows_with_its_length(name: str) -> None:
    def read(text: str) -> None:
        body = text.encode()
        with suppress(ClientError):
            first_value(body)
        syntax_error(body)
        corrupt_at(text)

    assert_linear(TEXTS[name], read, 1 << 17)


@pytest.mark.parametrize("name", TEXTS)
def test_names_and_durations_are_read_in_time_that_grows_with_their_length(name: str) -> None:
    def read(text: str) -> None:
        full_name(text)
        with suppress(ClientError):
            local_name(text)
        with suppress(ValueError):
            parse_duration(text)

    assert_linear(TEXTS[name], read)
