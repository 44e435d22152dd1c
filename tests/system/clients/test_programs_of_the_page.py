"""The programs on the compatibility page, run against the whole stack."""

from __future__ import annotations

import importlib.util
import re
import sys

import pytest

from tests.support.service import ROOT, Service, run

pytestmark = pytest.mark.integration

PAGE = (ROOT / "docs" / "ollama-compatibility.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def library(program: str) -> str:
    return program.split()[1].partition(".")[0]


@pytest.mark.parametrize("program", PROGRAMS, ids=library)
def test_a_program_on_the_page_answers(shared: Service, program: str) -> None:
    if not importlib.util.find_spec(library(program)):
        pytest.skip(f"{library(program)} is large and not installed")
    assert "http://127.0.0.1:5002" in program
    program = program.replace("http://127.0.0.1:5002", shared.base)
    done = run(sys.executable, "-c", program, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")

    assert done.stdout.rstrip().endswith("You said: Hello"), done.stderr


def test_there_are_programs_for_six_libraries() -> None:
    own = ["ollama", "langchain_ollama", "llama_index", "litellm"]
    assert list(map(library, PROGRAMS)) == [*own, "openai", "anthropic"]
