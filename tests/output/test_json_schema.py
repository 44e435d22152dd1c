"""Values are checked against schemas that may be hostile."""

from __future__ import annotations

import itertools
import time
import urllib.request
from typing import Any

import pytest

from axproxy.output.json_schema import SchemaCheck
from tests.support.growth import assert_linear


def complaint(schema: Any, value: Any, **how: Any) -> str | None:
    return SchemaCheck(schema, **how).complaint(value)


PET = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}
DRAFT_7 = {"$schema": "http://json-schema.org/draft-07/schema#"}
LINKED = {
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (PET, {"name": "Rex", "age": 3}),
        (LINKED, {"next": {"next": {}}}),
        ({}, 7),
        ({"enum": ["a", 1]}, "a"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        (
            {**DRAFT_7, "items": [{"type": "null"}]},
            [None],
        ),
        ({"$schema": "https://example.org/mine", "type": "string"}, "a"),
    ],
)
def test_a_value_that_follows_the_schema_passes(schema: Any, value: Any) -> None:
    assert complaint(schema, value) is None


@pytest.mark.parametrize(
    ("schema", "value", "fault"),
    [
        (PET, {"age": 3}, "$: 'name' is a required property"),
        (PET, {"name": "Rex", "age": -1}, "$.age: -1 is less than the minimum of 0"),
        (PET, {"name": "Rex", "x": 1}, "$: Additional properties are not allowed"),
        (LINKED, {"next": {"next": 1}}, "$.next.next: 1 is not of type 'object'"),
        ({"type": "integer"}, True, "$: True is not of type 'integer'"),
        (
            {**DRAFT_7, "items": [{}, {"type": "null"}]},
            [1, 2],
            "$[1]: 2 is not",
        ),
    ],
)
def test_the_first_fault_is_reported(schema: Any, value: Any, fault: str) -> None:
    assert (complaint(schema, value) or "").startswith(fault)


def test_a_complaint_is_short_whatever_the_value() -> None:
    assert len(complaint({"type": "null"}, "x" * 10_000) or "") <= 300


HANGS = "^(a+)+$"
VICTIM = "a" * 60 + "!"
DOUBLING = {
    "$defs": {
        **{str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(60)},
        "60": {},
    },
    "$ref": "#/$defs/0",
}
OWN_DRAFT = {**DRAFT_7, "pattern": HANGS}

HOSTILE: dict[str, tuple[Any, Any]] = {
    "a pattern": ({"pattern": HANGS}, VICTIM),
    "a pattern of properties": ({"patternProperties": {HANGS: False}}, {VICTIM: 1}),
    "what is left of patterns": (
        {"patternProperties": {HANGS: {}}, "additionalProperties": False},
        {VICTIM: 1},
    ),
    "properties that were not evaluated": (
        {"patternProperties": {HANGS: {}}, "unevaluatedProperties": False},
        {VICTIM: 1},
    ),
    "names by pattern": ({"propertyNames": {"pattern": HANGS}}, {VICTIM: 1}),
    "a part of another draft": ({"allOf": [OWN_DRAFT]}, VICTIM),
    "a part of another draft, by name": ({"$defs": {"a": OWN_DRAFT}, "$ref": "#/$defs/a"}, VICTIM),
    "itself": ({"$ref": "#"}, 1),
    "itself in a ring": (
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        1,
    ),
    "twice itself, sixty times": (DOUBLING, 1),
    "a great many": ({"anyOf": [False] * 100_000}, 1),
    "one level of many": ({"allOf": [{"enum": list(range(60))}] * 10_000}, 1),  # fits a body
    "something far away": ({"$ref": "http://127.0.0.1:9/schema.json"}, 1),
    "a file": ({"$ref": "file:///etc/hostname"}, 1),
    "a dynamic one": ({"$dynamicRef": "http://127.0.0.1:9/schema.json#a"}, 1),
    "a base far away": ({"$id": "http://127.0.0.1:9/", "$ref": "other.json"}, 1),
    "nonsense": ({"type": 5}, 1),
    "nonsense as a draft": ({"$schema": [1], "type": "string"}, 1),
    "nonsense as properties": ({"properties": [1]}, {"a": 1}),
    "nonsense as a reference": ({"$ref": 7}, 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_passes_everything_quickly_and_fetches_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(*_what: Any, **_how: Any) -> None:
        pytest.fail("something was fetched")

    monkeypatch.setattr(urllib.request, "urlopen", fetched)
    schema, value = HOSTILE[name]
    begun = time.monotonic()
    assert complaint(schema, value) is None
    assert time.monotonic() - begun < 30  # it must not hang


def test_all_values_share_the_time() -> None:
    check = SchemaCheck(DOUBLING)
    begun = time.monotonic()
    assert [check.complaint(value) for value in range(50)] == [None] * 50
    assert time.monotonic() - begun < 30


def test_a_check_ends_when_its_time_is_over() -> None:
    assert complaint({"type": "string"}, 1, clock=itertools.count(step=2).__next__) is None
    assert complaint({"type": "string"}, 1, clock=lambda: 0.0) is not None


def test_a_schema_nested_without_end_passes_everything() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"not": deep}
    try:
        assert complaint(deep, 1) is None
    finally:
        while deep:  # Python would free the nested value by deep recursion
            deep = deep["not"]


def test_a_property_may_be_called_like_a_draft() -> None:
    schema = {"properties": {"$schema": {"type": "string"}}, "additionalProperties": False}

    assert complaint(schema, {"$schema": "mine"}) is None
    assert complaint(schema, {"other": 1}) is not None


@pytest.mark.parametrize(
    ("value", "unique"),
    [
        ([1, True, "1", None, [1], {"a": 1}, False, 0, [], {}], True),
        ([1, 1.0], False),
        ([{"a": [1, {"b": 2}]}, {"a": [1.0, {"b": 2}]}], False),
        ([{"a": 1}, {"a": True}], True),
        ([[], {}], True),
        ("aa", True),
    ],
)
def test_unique_items_are_told_apart_as_json_does(value: Any, unique: bool) -> None:
    complaint = SchemaCheck({"uniqueItems": True}).complaint(value)
    assert complaint == (None if unique else "$: it has the same element twice")


KEYWORDS: dict[str, Any] = {
    "uniqueItems": {"uniqueItems": True},
    "contains": {"contains": {"const": 0}},
    "enum": {"items": {"enum": [{"a": number} for number in range(20)]}},
    "anyOf": {"items": {"anyOf": [{"required": ["b"]}, {"type": "object"}]}},
    "not": {"items": {"not": {"type": "string"}}},
    "propertyNames": {"items": {"propertyNames": {"maxLength": 5}}},
}


@pytest.mark.parametrize("keyword", KEYWORDS)
@pytest.mark.parametrize("draft", [4, 7, 2020])
def test_a_check_costs_time_that_grows_with_the_value(keyword: str, draft: int) -> None:
    name = "https://json-schema.org/draft/2020-12/schema"
    if draft != 2020:
        name = f"http://json-schema.org/draft-0{draft}/schema#"
    check = SchemaCheck({"$schema": name, **KEYWORDS[keyword]}, clock=lambda: 0.0)
    assert_linear(lambda size: [{"a": number} for number in range(size)], check.complaint, 6000)
