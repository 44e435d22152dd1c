"""Durations are read as Ollama reads them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.durations import FOREVER, parse_duration, parse_keep_alive

UNITS = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("1h1h", 7200),
        ("250ms", 0.25),
        ("7us", 7e-6),
        ("7\u00b5s", 7e-6),  # the micro sign
        ("7\u03bcs", 7e-6),  # the Greek letter; Go reads both
        ("3ns", 3e-9),
        ("0", 0),
        ("+0", 0),
        ("-0", 0),
        ("0s", 0),
        ("-0s", 0),
        ("+2m", 120),
        ("-1ns", FOREVER),
        ("-1h30m", FOREVER),
    ],
)
def test_a_duration_is_a_sequence_of_numbers_with_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("banana", 'time: invalid duration "banana"'),
        (".s", 'time: invalid duration ".s"'),
        ("--1s", 'time: invalid duration "--1s"'),
        ("10", 'time: missing unit in duration "10"'),
        ("-1", 'time: missing unit in duration "-1"'),
        (".5", 'time: missing unit in duration ".5"'),
    ],
)
def test_an_invalid_duration_is_refused_in_gos_words(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^time: ") as refusal:
        parse_duration(text)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize("text", ["1h30", "5m ", "1s x", "1h-30m"])
def test_nothing_may_follow_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"^time: "):
        parse_duration(text)


@pytest.mark.parametrize(("text", "unit"), [("1d", "d"), ("5min", "min"), ("1h2x", "x")])
def test_an_unknown_unit_is_named_as_go_names_it(text: str, unit: str) -> None:
    with pytest.raises(ValueError, match=r"^time: ") as refusal:
        parse_duration(text)
    assert str(refusal.value) == f'time: unknown unit "{unit}" in duration "{text}"'


def test_only_ascii_digits_count() -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration("\u0663s")  # three, in Arabic-Indic digits


parts = st.lists(
    st.tuples(
        st.one_of(
            st.integers(0, 10**6).map(str),
            st.decimals(0, 1000, places=3).map(str),
        ),
        st.sampled_from(sorted(UNITS)),
    ),
    min_size=1,
    max_size=4,
)


@given(parts)
def test_the_parts_of_a_duration_add_up(given_parts: list[tuple[str, str]]) -> None:
    total = sum(Fraction(number) * UNITS[unit] for number, unit in given_parts)
    text = "".join(number + unit for number, unit in given_parts)
    assert parse_duration(text) == pytest.approx(float(total), rel=1e-9, abs=1e-15)
    assert parse_duration("-" + text) == (FOREVER if total else 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300", 300),
        ("0", 0),
        ("1.5", 1.5),
        ("-1", FOREVER),
        ("-0.5", FOREVER),
        ("5m", 300),
        ("-5m", FOREVER),
        ("inf", FOREVER),
    ],
)
def test_a_bare_number_in_the_environment_counts_seconds(text: str, seconds: float) -> None:
    assert parse_keep_alive(text) == seconds


def test_nan_is_no_length_of_time() -> None:
    with pytest.raises(ValueError, match='time: invalid duration "nan"'):
        parse_keep_alive("nan")


@given(st.one_of(st.text(), st.text("0123456789.+-hmsnuµ ", max_size=8)))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        seconds = parse_keep_alive(text)
    except ValueError as error:
        refusal = str(error)
    else:
        assert seconds >= 0  # and it is not NaN
        return
    assert refusal.startswith("time: ")
