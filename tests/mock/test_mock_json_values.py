"""JSON and sampling keys as the vendor's C++ library sees them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from axmock import json_values
from axmock.console import Console
from axmock.crash import CppException
from axmock.json_values import Discarded
from axmock.sampling import Sampling
from axmock.stdout import Stdout

ACCEPTED: dict[bytes, Any] = {
    b'\xef\xbb\xbf{"a": 1}': {"a": 1},  # byte order mark
    b'{"a": 1, "a": 2}': {"a": 2},
    b" \r\n\t[1]\n": [1],
    b"{}\0garbage": {},
    b'"\\ud83d\\ude00"': "\U0001f600",
    b'"\\\\ud800"': "\\ud800",
    b'"a\\u0000b"': "a\0b",
    b"18446744073709551616": 18446744073709551616.0,
    b'"\x7f"': "\x7f",
}
REFUSED = [
    b"",
    b" ",
    b"{bad",
    b"NaN",
    b"[Infinity]",
    b"1e999",
    b"1" * 5000,
    b"{} x",
    b'"\\ud800"',
    b'{"a": "\\udc00"}',
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'"a\nb"',
    b"'a'",
    b"[1,]",
    b"01",
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", ACCEPTED)
def test_json_that_the_vendor_accepts(body: bytes) -> None:
    assert json_values.parse(body) == ACCEPTED[body]


@pytest.mark.parametrize("body", REFUSED, ids=lambda body: repr(body[:12]))
def test_json_that_the_vendor_discards(body: bytes) -> None:
    with pytest.raises(Discarded):
        json_values.parse(body)


def test_values_are_written_without_spaces_in_the_order_of_their_keys() -> None:
    text = json_values.dump({"b": [1, "é\u2028\x01\x7f"], "a": None})

    assert text == '{"a":null,"b":[1,"é\u2028\\u0001\x7f"]}'


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"),
        (True, "boolean"),
        (1, "number"),
        (1.5, "number"),
        ([], "array"),
        ({}, "object"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_in_the_exception(value: Any, name: str) -> None:
    with pytest.raises(CppException) as caught:
        json_values.as_string(value)

    assert caught.value.what == (
        f"[json.exception.type_error.302] type must be string, but is {name}"
    )


@pytest.mark.parametrize(
    ("value", "number"), [(2.7, 2), (-2.7, -2), (True, 1), (2**32 + 3, 3), (1e20, 2**31 - 1)]
)
def test_numbers_become_c_ints(value: Any, number: int) -> None:
    assert json_values.as_int(value) == number


def test_a_member_of_a_text_is_a_different_exception() -> None:
    with pytest.raises(CppException, match="305. cannot use operator.. .* with string"):
        json_values.member("x", "key")


class Paper:
    """A console that writes into a pipe."""

    def __init__(self) -> None:
        self._reader, writer = os.pipe()
        self.console = Console(Stdout(writer, tty=True))
        self._writer = writer

    def lines(self) -> list[str]:
        os.close(self._writer)
        with os.fdopen(self._reader) as stream:
            return [line.partition("]: ")[2].removesuffix("\x1b[0m\n") for line in stream]


QWEN3 = Sampling(top_k=1)
# name: (settings before, keys of the request, settings after)
REQUESTS: dict[str, tuple[Sampling, dict[str, Any], Sampling]] = {
    "temperature alone": (QWEN3, {"temperature": 0.5}, Sampling(temperature=0.5, top_k=1)),
    "temperature zero is off": (Sampling(temperature=0.5), {"temperature": 0}, Sampling()),
    "true is 1.0": (Sampling(), {"temperature": True}, Sampling(temperature=1.0)),
    "top-p switches top-k off": (QWEN3, {"top-p": 0.5}, Sampling(top_p=0.5)),
    "top-p 1.0 switches both off": (QWEN3, {"top-p": 1.0}, Sampling()),
    "top-k switches top-p off": (Sampling(top_p=0.5), {"top-k": 2.7}, Sampling(top_k=2)),
    "top-k 0 switches both off": (Sampling(top_p=0.5), {"top-k": 0}, Sampling()),
    "with both, top-k wins": (QWEN3, {"top-k": 9, "top-p": 0.5}, Sampling(top_k=9)),
    "penalty 1.0 keeps the old one": (
        Sampling(repetition_penalty=1.5),
        {"repetition_penalty": 1.0},
        Sampling(repetition_penalty=1.5),
    ),
    "other spellings are ignored": (QWEN3, {"top_k": 5, "top_p": 0.5, "seed": 1}, QWEN3),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_sampling_keys_of_a_request_stick(name: str) -> None:
    before, keys, after = REQUESTS[name]
    settings = Sampling(**vars(before))

    settings.apply(keys, Paper().console)

    assert settings == after


def test_a_penalty_of_1_0001_passes_the_threshold() -> None:
    settings = Sampling(repetition_penalty=1.5)

    settings.apply({"repetition_penalty": 1.0001}, Paper().console)

    assert settings.repetition_penalty == pytest.approx(1.0001)


def test_keys_before_a_wrong_one_stay_applied() -> None:
    settings = Sampling()

    with pytest.raises(CppException):
        settings.apply({"temperature": 0.5, "top-p": None, "top-k": 3}, Paper().console)

    assert settings == Sampling(temperature=0.5)


def test_sampling_keys_are_logged_in_the_vendors_words() -> None:
    paper = Paper()

    Sampling().apply(
        {"top-k": 0, "top-p": 1, "repetition_penalty": 1, "temperature": 0}, paper.console
    )

    assert paper.lines() == [
        "temperature: 0.000000",
        "temperature: 0.000000 is invalid",
        "repetition_penalty: 1.000000",
        "repetition_penalty: 1.000000 is skip",
        "top-p: 1.000000",
        "top-p: 1.000000 is invalid",
        "top-k: 0",
        "top-k: 0 is invalid",
    ]


def test_without_post_config_the_sampler_is_greedy(tmp_path: Path) -> None:
    settings, paper = Sampling(), Paper()

    settings.load(tmp_path / "post_config.json", paper.console)

    assert settings == Sampling()  # nothing enabled: the likeliest token is taken
    assert paper.lines()[-1].startswith("load postprocess config(")


def test_a_post_config_with_a_missing_key_is_an_exception(tmp_path: Path) -> None:
    (tmp_path / "post_config.json").write_text('{"enable_temperature": true}')

    with pytest.raises(CppException, match="type must be boolean, but is null"):
        Sampling().load(tmp_path / "post_config.json", Paper().console)
