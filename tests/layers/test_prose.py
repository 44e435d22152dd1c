"""Messages, comments, docstrings and documents keep to plain words."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("axproxy", "axmock", "benchmarks", "tools")
MODULES = [
    *ROOT.glob("*.py"),
    *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")),
]
TEXTS = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("*.sh"),
    *ROOT.glob("*.txt"),
    *(path for path in ROOT.glob("deploy/**/*") if path.is_file()),
    *(ROOT / name for name in ("backend.service", "pyproject.toml", ".ci/run")),
]
# People who stand for programs ("nobody else has it"), and words that have gone out of use: write
# fix instead of mend, and damaged or broken instead of spoilt.
BANNED = re.compile(r"\b(?:whoever|nobody|somebody|mend(?:s|ed|ing)?|spoilt)\b", re.IGNORECASE)

# Sentences of other programs, which must stay to the letter.
QUOTED: tuple[str, ...] = ()


def words_of(path: Path) -> list[tuple[int, str]]:
    """The text of a file by line; of a module its comments and strings."""
    source = path.read_text()
    if path.suffix != ".py":
        return list(enumerate(source.splitlines(), 1))
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", None)}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [(token.start[0], token.string) for token in tokens if token.type in kinds]


def banned_in(text: str) -> list[str]:
    for sentence in QUOTED:
        text = text.replace(sentence, "")
    return BANNED.findall(text)


def id_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*MODULES, *TEXTS], ids=id_of)
def test_a_file_keeps_to_plain_words(path: Path) -> None:
    assert [(line, word) for line, text in words_of(path) for word in banned_in(text)] == []


def test_a_banned_word_would_be_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""Nobody reads it."""\nnobody = 1  # spoilt\nprint(f"mend {1}")\n')
    assert [word for _, text in words_of(module) for word in banned_in(text)] == [
        *("Nobody", "spoilt", "mend"),
    ]
