"""The page about compatibility lists exactly what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from axproxy.api.ollama.options import TYPES
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import FakeEngine, FakeModels

PAGE = (Path(__file__).parents[3] / "docs" / "ollama-compatibility.md").read_text()


def first_cells(heading: str) -> str:
    """Return the left column of the table under a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return "\n".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))


def test_the_page_lists_exactly_the_endpoints_that_exist() -> None:
    named = {
        (method, path)
        for methods, path in re.findall(
            r"((?:`?[A-Z]+`?, )?`?[A-Z]+) (/[^`]*)`", first_cells("Endpoints")
        )
        for method in re.findall("[A-Z]+", methods)
    }
    rules = [
        rule
        for rule in create_app(Settings(), FakeEngine(), FakeModels()).url_map.iter_rules()
        if rule.rule == "/" or rule.rule.startswith(("/api/", "/v1/"))
    ]
    served = {
        (method, rule.rule.replace("<_", "<")) for rule in rules for method in rule.methods or ()
    }
    without_head = {
        (method, path) for method, path in served if method != "HEAD" or (method, path) in named
    }

    assert named == without_head
    assert ("HEAD", "/api/tags") in named


def test_the_page_lists_exactly_the_options_that_exist() -> None:
    assert sorted(re.findall("`([a-z_]+)`", first_cells("Options"))) == sorted(TYPES)


CURLS = re.findall(r"^curl http://127\.0\.0\.1:5002(/\S+)(?: -d '(.*)')?$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("path", "body"), CURLS)
def test_the_commands_on_the_page_work(client: FlaskClient, path: str, body: str) -> None:
    body = body.replace('"mock"', '"qwen3:0.6b"')
    reply = client.post(path, data=body) if body else client.get(path)

    assert reply.status_code == 200


def test_the_page_has_commands_for_chat_generate_unload_ps_and_a_session() -> None:
    assert len(CURLS) == 6
