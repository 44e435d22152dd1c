"""Whether a value follows a JSON schema from anywhere, found out in bounded time and from memory.

Regular expressions are not tried, for a hostile one never ends; nothing is fetched; and a check
that takes too long, or a schema that makes no sense, says nothing against the value.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.validators import extend, validator_for
from referencing import Registry

LONGEST = 1.0  # seconds; a schema that a window can hold takes milliseconds
LARGEST = 64 * 1024  # characters; several windows full
_LONGEST_COMPLAINT = 300  # characters; the library quotes whole values

_UNKNOWN = ("pattern", "patternProperties", "unevaluatedProperties", "unevaluatedItems")

Check = Callable[..., Iterator[Any] | None]


class _TooLong(Exception):
    """The check has taken its time."""


class SchemaCheck:
    """One schema, for the values in one answer, which share the time."""

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
        """What is wrong with the value, in a few words; None where nothing can be said against
        it."""
        if self._validator is None:
            return None
        try:
            error = next(self._validator.iter_errors(value), None)
        except Exception:  # noqa: BLE001 - as above
            return None
        return None if error is None else f"{error.json_path}: {error.message}"[:_LONGEST_COMPLAINT]


def _of_one_draft(schema: Any) -> Any:
    """The schema where no part names a draft of its own, for which the library would take its own
    validator, without our bounds."""
    if isinstance(schema, dict):
        drafts = {key for key, part in schema.items() if key == "$schema" and isinstance(part, str)}
        return {key: _of_one_draft(part) for key, part in schema.items() if key not in drafts}
    return [_of_one_draft(part) for part in schema] if isinstance(schema, list) else schema


def _validator_class(draft: Any, clock: Callable[[], float]) -> Any:
    """The draft's validator with every keyword bounded."""
    deadline = clock() + LONGEST

    def bounded(check: Check) -> Check:
        def checked(*what: Any) -> Iterator[Any] | None:
            if clock() > deadline:
                raise _TooLong
            return check(*what)

        return checked

    checks = {name: bounded(check) for name, check in draft.VALIDATORS.items()}
    # With their expressions untried, nobody knows which properties are left over.
    unknown: dict[str, Check] = dict.fromkeys(_UNKNOWN, _says_nothing)
    if "additionalProperties" in checks:
        unknown["additionalProperties"] = _unless_patterns(checks["additionalProperties"])
    return extend(draft, {**checks, **unknown})  # type: ignore[no-untyped-call]  # the stubs' gap


def _says_nothing(*_what: Any) -> None:
    return None


def _unless_patterns(check: Check) -> Check:
    def checked(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any] | None:
        if "patternProperties" in schema:
            return None
        return check(validator, wanted, instance, schema)

    return checked
