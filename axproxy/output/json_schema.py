"""Checks a value against a client's JSON schema, in bounded time and without network access.

Regular expressions are not tried, because a hostile one never ends.  References are not fetched.
A check that takes too long, or a schema that makes no sense, counts as passed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend, validator_for
from referencing import Registry

LONGEST = 1.0  # seconds; a schema that a window can hold takes milliseconds
LARGEST = 64 * 1024  # characters; several windows full
_LONGEST_COMPLAINT = 300  # characters; the library quotes whole values

_UNKNOWN = ("pattern", "patternProperties", "unevaluatedProperties", "unevaluatedItems")

Check = Callable[..., Iterator[Any] | None]


class _TooLong(Exception):
    """The check has taken longer than `LONGEST`."""


class SchemaCheck:
    """Checks the values in one answer against one schema; together they have `LONGEST` seconds."""

    def __init__(
        self, schema: Mapping[str, Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._validator = None
        with suppress(Exception):  # a schema can break the library in any way
            if len(json.dumps(schema)) <= LARGEST:
                draft = validator_for(schema, default=Draft202012Validator)
                kind = _validator_class(draft, clock)
                self._validator = kind(_of_one_draft(schema), registry=Registry())

    def complaint(self, value: Any) -> str | None:
        """Return what is wrong with the value, in a few words; None where nothing was found."""
        if self._validator is None:
            return None
        try:
            error = next(self._validator.iter_errors(value), None)
        except Exception:  # noqa: BLE001 - as above
            return None
        return None if error is None else f"{error.json_path}: {error.message}"[:_LONGEST_COMPLAINT]


def _of_one_draft(schema: Any) -> Any:
    """Return the schema without the `$schema` of its parts.

    For a part with a draft of its own the library would take that draft's validator, without our
    bounds.
    """
    if isinstance(schema, dict):
        drafts = {key for key, part in schema.items() if key == "$schema" and isinstance(part, str)}
        return {key: _of_one_draft(part) for key, part in schema.items() if key not in drafts}
    return [_of_one_draft(part) for part in schema] if isinstance(schema, list) else schema


def _validator_class(draft: Any, clock: Callable[[], float]) -> Any:
    """Return the draft's validator class, every keyword of it bounded in time."""
    deadline = clock() + LONGEST

    def bounded(check: Check) -> Check:
        def checked(*what: Any) -> Iterator[Any] | None:
            if clock() > deadline:
                raise _TooLong
            return check(*what)

        return checked

    checks = {name: bounded(check) for name, check in draft.VALIDATORS.items()}
    if "uniqueItems" in checks:
        checks["uniqueItems"] = bounded(_unique)  # the library's compares each item with each
    # The patterns are not tried, so it is unknown which properties are left over.
    unknown: dict[str, Check] = dict.fromkeys(_UNKNOWN, _passes)
    if "additionalProperties" in checks:
        unknown["additionalProperties"] = _unless_patterns(checks["additionalProperties"])
    return extend(draft, {**checks, **unknown})  # type: ignore[no-untyped-call]  # the stubs' gap


def _passes(*_what: Any) -> None:
    return None


def _unique(validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if wanted and validator.is_type(instance, "array"):
        seen = set()
        for item in instance:
            key = _key(item)
            if key in seen:
                yield ValidationError("it has the same element twice")
                return
            seen.add(key)


def _key(value: Any) -> Hashable:
    """Return what is equal for values that JSON schemas count as equal: 1 and 1.0, not true."""
    match value:
        case dict():
            return "object", frozenset((name, _key(item)) for name, item in value.items())
        case list():
            return "array", tuple(map(_key, value))
        case bool():
            return "boolean", value
    return "scalar", value


def _unless_patterns(check: Check) -> Check:
    def checked(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any] | None:
        if "patternProperties" in schema:
            return None
        return check(validator, wanted, instance, schema)

    return checked
