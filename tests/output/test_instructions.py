"""Words to the model that the service adds to a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from axproxy.messages import Message
from axproxy.output.instructions import with_call_correction, with_call_instruction

PETS: dict[str, Any] = {"type": "function", "function": {"name": "pets"}}
ASKED = (Message("user", "Which pets?"),)


@pytest.mark.parametrize(
    ("tools", "named"),
    [
        ([PETS], "the function pets"),
        ([PETS, PETS], "one of the functions"),
        ([{"type": "function", "function": "odd"}], "one of the functions"),
    ],
)
def test_the_model_is_told_that_it_must_call(tools: list[Any], named: str) -> None:
    words = f"Answer only with a call of {named}; write nothing else."

    assert with_call_instruction(ASKED, tools) == (Message("system", words), *ASKED)
    system = Message("system", "Be brief.")
    assert with_call_instruction((system, *ASKED), tools) == (
        Message("system", f"Be brief.\n\n{words}"),
        *ASKED,
    )


def test_a_second_try_shows_the_first_and_what_is_wrong_with_it() -> None:
    (last,) = with_call_correction(ASKED, "I would rather talk.", [PETS])

    assert last.role == "user"
    assert last.content == (
        "Which pets?\n\nAn earlier attempt to answer was:\nI would rather talk.\n"
        "It was refused: it calls no function\nAnswer again, only with a call of the function pets."
    )
