"""The texts that the program can print, read from its source; `…` stands for what varies."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_IN_SHELL = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SHELLS = re.compile(r"\$\([^)]*\)|\$\{[^}]*\}|\$\w+")


@cache
def sentences() -> frozenset[str]:
    """Return every text in the program and its scripts, joined as the program joins it."""
    modules = [*ROOT.glob("*.py"), *ROOT.glob("axproxy/**/*.py")]
    scripts = [*ROOT.glob("*.sh"), *ROOT.glob("deploy/*.sh")]
    return frozenset(
        [
            *(text for path in modules for text in _texts(ast.parse(path.read_text()))),
            *(text for path in scripts for text in _shell_texts(path.read_text())),
        ]
    )


def said(heading: str) -> bool:
    """Whether these words are together in a text that the program can print."""
    heading = heading.rstrip("… ")
    return any(heading in sentence for sentence in sentences())


def _texts(tree: ast.AST) -> Iterator[str]:
    nodes = list(ast.walk(tree))
    manual = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings
    for node in nodes:
        if id(node) in manual:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            # The logger fills these in.
            yield re.sub(r"%[sdg]", "…", node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
            yield "".join(map(str, parts))


def _shell_texts(script: str) -> Iterator[str]:
    for found in _IN_SHELL.finditer(script):
        yield _SHELLS.sub("…", found[1])
