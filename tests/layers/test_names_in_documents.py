"""Every file, module and class that a document or a comment names exists."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
SCRIPTS = [
    *sorted(ROOT.glob("*.sh")),
    *sorted(path for path in ROOT.glob("deploy/**/*") if path.is_file()),
    *(ROOT / name for name in (".ci/run", "backend.service", "pyproject.toml")),
    *sorted(ROOT.glob("requirements*.txt")),
]
FOLDERS = ("axproxy", "axmock", "benchmarks", "deploy", "docs", "tests", "tools")
SOURCES = [*sorted(ROOT.glob("*.py")), *(p for f in FOLDERS for p in (ROOT / f).rglob("*.py"))]

# Files that belong to others: the vendor's, the model's, the system's, the user's.
NOT_OURS = {"ax650.service", "qwen3_tokenizer_uid.py"}

_IN_FOLDER = re.compile(rf"(?<![\w/.~$<>-])(?:{'|'.join(FOLDERS)})/[\w./-]*\w")
_FILE = re.compile(r"(?<![\w/.~$<>*-])(?!/)[\w./-]+\.(?:py|sh|md|conf|service)\b")
_MODULE = re.compile(r"python3? -m ([\w.]+)")
_IDENTIFIER = re.compile(r"`([A-Z][a-z]\w*)`")


def named_paths(text: str) -> set[str]:
    """The paths below our folders that a text names, as files or as packages."""
    return {path for path in _IN_FOLDER.findall(text) if not path.endswith("/")}


@cache
def our_files() -> frozenset[str]:
    """All our files with a slash before them, so that the end of a path can be looked up."""
    return frozenset(f"/{path.relative_to(ROOT)}" for path in [*PAGES, *SCRIPTS, *SOURCES])


def exists(name: str) -> bool:
    """Whether a path is ours, or is the last part of exactly such a path."""
    name = name.removeprefix("./").removeprefix("../")
    return (ROOT / name).exists() or any(path.endswith(f"/{name}") for path in our_files())


def described_by(path: Path) -> str:
    """The comments and docstrings of a module; the texts in its code may name anything."""
    source = path.read_text()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, documented))
    docstrings = [ast.get_docstring(node) or "" for node in nodes]
    comments = re.findall(r"(?:^|\s)#.*$", source, re.MULTILINE)
    return "\n".join([*docstrings, *comments])


def id_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_every_file_named_in_a_document_exists(page: Path) -> None:
    text = page.read_text()
    if page.name == "CHANGELOG.md":
        text = text.partition("\n## ")[2].partition("\n## ")[0]  # older versions had other files
    text = re.sub(r"https?://\S+", "", text)
    named = {*named_paths(text), *_FILE.findall(text)} - NOT_OURS
    assert {name for name in named if not exists(name)} == set()


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_every_module_in_a_command_of_a_document_exists(page: Path) -> None:
    modules = set(_MODULE.findall(page.read_text())) - {"pip", "pytest"}
    assert {name for name in modules if importlib.util.find_spec(name) is None} == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=id_of)
def test_every_file_named_in_a_script_exists(script: Path) -> None:
    text = script.read_text()
    missing = {name for name in named_paths(text) if not (ROOT / name).exists()}
    assert missing == set()
    assert {
        m for m in _MODULE.findall(text) if m[:2] == "ax" and not importlib.util.find_spec(m)
    } == (set())


def test_every_file_named_in_a_comment_or_docstring_exists() -> None:
    assert {
        (id_of(path), name)
        for path in SOURCES
        for name in named_paths(described_by(path))
        if not (ROOT / name).exists()
    } == set()


def test_every_name_in_the_glossary_exists() -> None:
    named = set(_IDENTIFIER.findall((ROOT / "docs" / "glossary.md").read_text()))
    sources = "\n".join(path.read_text() for path in SOURCES if "tests" not in path.parts)
    defined = set(re.findall(r"^\s*(?:class|def) (\w+)", sources, re.MULTILINE))
    assert named
    assert named - defined == set()


def test_a_file_that_does_not_exist_would_be_found() -> None:
    text = "see `axproxy/gone.py`, `gone_too.py` and tests/gone/too"
    named = {*named_paths(text), *_FILE.findall(text)}
    assert {name for name in named if not exists(name)} == {
        *("axproxy/gone.py", "gone_too.py", "tests/gone/too"),
    }
    assert exists("axproxy/engine")
    assert exists("fitting.py")
