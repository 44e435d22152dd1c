"""Reading JSON as Go does."""

from __future__ import annotations

import functools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.api.gojson.decode import Fields, compact, first_value, well_formed
from axproxy.api.gojson.syntax import syntax_error
from axproxy.errors import ClientError

COMPLAINTS = [
    (b"", "missing request body"),
    (b" \r\n\t", "missing request body"),
    (b"{", "unexpected EOF"),
    (b"[", "unexpected EOF"),
    (b'{"a', "unexpected EOF"),
    (b'{"a"', "unexpected EOF"),
    (b'{"a":', "unexpected EOF"),
    (b'{"a":tru', "unexpected EOF"),
    (b'{"a":-', "unexpected EOF"),
    (b'{"a":1', "unexpected EOF"),
    (b'{"a":"\\', "unexpected EOF"),
    (b'{"a":"\\u12', "unexpected EOF"),
    (b"hello", "invalid character 'h' looking for beginning of value"),
    (b"'a'", "invalid character '\\'' looking for beginning of value"),
    (b"\xef\xbb\xbf{}", "invalid character 'ï' looking for beginning of value"),
    (b"\x80", "invalid character '\\u0080' looking for beginning of value"),
    (b"\x00", "invalid character '\\x00' looking for beginning of value"),
    (b"NaN", "invalid character 'N' looking for beginning of value"),
    (b'{"a":NaN}', "invalid character 'N' looking for beginning of value"),
    (b'{"a":-Infinity}', "invalid character 'I' in numeric literal"),
    (b'{"a":1.x}', "invalid character 'x' after decimal point in numeric literal"),
    (b'{"a":1ex}', "invalid character 'x' in exponent of numeric literal"),
    (b'{"a":01}', "invalid character '1' after object key:value pair"),
    (b'{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
    (b'{"a":1]', "invalid character ']' after object key:value pair"),
    (b'{"a":[1 2]}', "invalid character '2' after array element"),
    (b'{"a":[1}', "invalid character '}' after array element"),
    (b'{"a":[1,]}', "invalid character ']' looking for beginning of value"),
    (b'{"a":[}', "invalid character '}' looking for beginning of value"),
    (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
    (b"{a:1}", "invalid character 'a' looking for beginning of object key string"),
    (b"{]", "invalid character ']' looking for beginning of object key string"),
    (b'{"a" 1}', "invalid character '1' after object key"),
    (b'{"a":truth}', "invalid character 't' in literal true (expecting 'e')"),
    (b'{"a":nil}', "invalid character 'i' in literal null (expecting 'u')"),
    (b'{"a":"b\nc"}', "invalid character '\\n' in string literal"),
    (b'{"a":"\\x"}', "invalid character 'x' in string escape code"),
    (b'{"a":"\\u12g4"}', "invalid character 'g' in \\u hexadecimal character escape"),
    (
        b'{"a":{"b":[{}, [], "", 1.5e+3, x]}}',
        "invalid character 'x' looking for beginning of value",
    ),
    (b'{"a":' + b"[" * 150_000, "exceeded max depth"),
    (b"[" * 101 + b"]" * 101, "exceeded max depth"),
    (b'{"a":[' * 51 + b"]}" * 51, "exceeded max depth"),
    (b"[" + b"[]," * 100_000 + b"1]", "the JSON has more than 200000 commas and brackets"),
    (b'{"a":' + b"9" * 5000 + b"}", "json: cannot unmarshal number " + "9" * 40),
    (b"[" + b"1," * 150_000 + b"x]", "invalid JSON: Expecting value: line 1 column 300002"),
    (b'{"a":1e400}', "json: cannot unmarshal number 1e400 into Go value of type float64"),
]


@pytest.mark.parametrize(("body", "says"), COMPLAINTS)
def test_text_that_is_not_json_is_refused_in_gos_words(body: bytes, says: str) -> None:
    with pytest.raises(ClientError) as caught:
        first_value(body)

    assert caught.value.message.startswith(says)
    assert len(caught.value.message) < 120


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, -2.5, "x", null, true]} trailing', {"a": [1, -2.5, "x", None, True]}),
        (b"{}{", {}),
        (
            b"[" * 99 + b'{"a":1}' + b"]" * 99,
            functools.reduce(lambda v, _: [v], range(99), {"a": 1}),
        ),
        (b'{"a":"\xff"}', {"a": "\ufffd"}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "😀"}),
        (b'{"a":1e300}', {"a": 1e300}),
    ],
)
def test_only_the_first_value_counts(body: bytes, value: object) -> None:
    assert first_value(body) == value


@st.composite
def nearly_json(draw: st.DrawFn) -> str:
    """Draw JSON, or JSON with a few characters removed or inserted."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("é\n")
    values = st.recursive(leaves, lambda v: st.lists(v) | st.dictionaries(st.text("ab"), v))
    text = json.dumps(draw(values), indent=draw(st.none() | st.just(1)))
    for _ in range(draw(st.integers(0, 2))):
        at, gone = draw(st.integers(0, len(text))), draw(st.integers(0, 1))
        text = text[:at] + draw(st.text('{}[]",:\\u1e.-t', max_size=1)) + text[at + gone :]
    return text


@given(nearly_json() | st.text())
def test_go_reports_an_error_exactly_if_python_does(text: str) -> None:
    def forbidden(name: str) -> None:
        raise ValueError(name)

    try:
        json.JSONDecoder(parse_constant=forbidden).raw_decode(text.lstrip(" \t\r\n"))
        refused = False
    except ValueError:
        refused = True
    try:
        body = text.encode()
    except UnicodeEncodeError:
        return
    # Python reads the 1 of a lone `1.` and leaves the rest; an object or array has no such end.
    if text.lstrip(" \t\r\n")[:1] in ("{", "[", '"'):
        assert (syntax_error(body) is not None) == refused


def test_keys_match_in_any_case_and_null_is_nothing() -> None:
    fields = Fields("ChatRequest", {"MODEL": "m", "Stream": None, "stream": False, "STREAM": None})

    assert fields.string("model") == "m"
    assert fields.boolean("stream", default=True) is False
    assert fields.string("missing") == ""
    assert fields.boolean("missing", default=True) is True
    assert fields.integer("missing") == 0
    assert fields.integers("missing") == []
    assert fields.images("missing") == []
    assert fields.objects("missing", "api.Message") == []
    assert fields.mapping("missing") == {}
    assert fields.anything("missing") is None


def test_null_among_elements_is_gos_zero_value() -> None:
    fields = Fields("T", {"numbers": [1, None], "images": ["QUJD", None], "turns": [None]})

    assert fields.integers("numbers") == [1, 0]
    assert fields.images("images") == ["QUJD", ""]
    assert fields.objects("turns", "api.Message")[0].string("role") == ""


def test_a_lone_surrogate_is_read_as_a_replacement_character() -> None:
    assert Fields("T", {"a": "x\ud800y\udfff"}).string("a") == "x\ufffdy\ufffd"
    assert well_formed("😀") == "😀"


def test_json_is_written_compactly_and_as_utf8() -> None:
    assert compact({"a": [1, "é<"], "b": None}) == '{"a":[1,"é<"],"b":null}'.encode()
