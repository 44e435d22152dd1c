"""A stencil says what encoding the whole would have said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.api.gojson.decode import compact
from axproxy.api.stencil import HOLE, Stencil


@given(st.text(), st.text(), st.text())
def test_a_filled_stencil_is_the_object_with_its_texts(model: str, first: str, second: str) -> None:
    stencil = Stencil({"model": model, "at": HOLE, "message": {"content": HOLE}, "done": False})
    whole = {"model": model, "at": first, "message": {"content": second}, "done": False}

    assert stencil.filled(first, second) == compact(whole) + b"\n"


def test_what_is_around_it_is_said_each_time() -> None:
    stencil = Stencil([HOLE], before=b"data: ", after=b"\n\n")
    assert stencil.filled("a") == b'data: ["a"]\n\n'
    assert stencil.filled("b") == b'data: ["b"]\n\n'


@pytest.mark.parametrize("texts", [(), ("one",), ("one", "two", "three")])
def test_each_hole_wants_its_text(texts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="argument"):
        Stencil({"at": HOLE, "content": HOLE}).filled(*texts)
