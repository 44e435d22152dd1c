"""The page shows what a model writes in time that grows with its length."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from axproxy.api.ui import routes
from tests.support.growth import assert_linear, repeated

SCRIPT = Path(routes.__file__).parent / "static" / "markdown.js"
TEXTS = {
    "backticks": repeated("`"),
    "code without an end": repeated("`a"),
    "two backticks and one": repeated("``a`"),
    "stars": repeated("*"),
    "openings of strong text": repeated("**a "),
    "brackets": repeated("["),
    "links without an end": repeated("[a](https://"),
    "addresses": repeated("a", before="[a](https://"),
}


def inline() -> re.Pattern[str]:
    """Return the page's pattern; what it uses means the same in Python."""
    (literal,) = re.findall(r"^const INLINE = /(.*)/g;$", SCRIPT.read_text(), re.MULTILINE)
    return re.compile(literal)


def test_emphasis_code_and_links_are_found() -> None:
    text = "a `b` **c** *d* ```e``` [f](https://example.org/g) [h](javascript:i)"
    found = [match[0] for match in inline().finditer(text)]
    assert found == ["`b`", "**c**", "*d*", "```e```", "[f](https://example.org/g)"]


@pytest.mark.parametrize("name", TEXTS)
def test_a_line_is_searched_in_time_that_grows_with_it(name: str) -> None:
    pattern = inline()
    assert_linear(TEXTS[name], lambda text: list(pattern.finditer(text)), 1 << 16)
