"""The lines of the file of named keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.api_keys import (
    PREFIX,
    BadKeyLine,
    NamedKey,
    digest_of,
    find_key,
    new_key,
    parse_keys,
)

HEX = digest_of(b"secret")


def test_a_line_has_the_name_the_hash_and_the_limits() -> None:
    text = f"# ours\n\nanna sha256:{HEX} waiting=2 rate=30 models=a:1b,b operator\n"
    assert parse_keys(text) == (NamedKey("anna", HEX, 2, 30, ("a:1b", "b"), operator=True),)
    assert parse_keys(f"anna sha256:{HEX}") == (NamedKey("anna", HEX),)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("anna", "must follow the name anna"),
        ("anna secret", "must follow"),
        (f"anna sha256:{HEX[:-1]}", "must follow"),
        (f"an/na sha256:{HEX}", "a name has letters"),
        (f"anna sha256:{HEX} rate=0", "rate must be a number from 1"),
        (f"anna sha256:{HEX} waiting=-1", "waiting must be a number from 0"),
        (f"anna sha256:{HEX} waiting=\u0661", "waiting must be"),
        (f"anna sha256:{HEX} rate=1 rate=2", "is none of"),
        (f"anna sha256:{HEX} models=", "is none of"),
        (f"anna sha256:{HEX} admin", "is none of"),
        (f"anna sha256:{HEX}\nanna sha256:{digest_of(b'x')}", "such a key already"),
        (f"anna sha256:{HEX}\nbert sha256:{HEX}", "such a key already"),
    ],
)
def test_a_line_that_is_not_understood_is_named_by_its_number(line: str, problem: str) -> None:
    with pytest.raises(BadKeyLine, match=rf"^line [12]: .*{problem}"):
        parse_keys(line)


def test_a_key_is_found_by_its_hash() -> None:
    anna, bert = NamedKey("anna", HEX), NamedKey("bert", digest_of(b"other"))
    assert find_key((anna, bert), [b"", b"other"]) is bert
    assert find_key((anna, bert), [b"secret", b""]) is anna
    assert find_key((anna, bert), [HEX.encode(), b""]) is None
    assert find_key((), [b"secret"]) is None


def test_new_keys_are_long_and_differ() -> None:
    keys = {new_key() for _ in range(8)}
    assert len(keys) == 8
    assert all(key.startswith(PREFIX) and len(key) == len(PREFIX) + 43 for key in keys)


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        keys = parse_keys(text)
    except BadKeyLine:
        return
    assert parse_keys("\n".join(key.line() for key in keys)) == keys


limit = st.none() | st.integers(1, 10_000)


@given(limit, limit, st.lists(st.sampled_from(["a", "b:1b"]), unique=True), st.booleans())
def test_what_is_written_is_read(
    waiting: int | None, rate: int | None, models: list[str], operator: bool
) -> None:
    key = NamedKey("anna", HEX, waiting, rate, tuple(models), operator)
    assert parse_keys(key.line()) == (key,)
