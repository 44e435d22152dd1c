"""The names that mean one model, and those that do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.errors import ClientError, UnknownModel
from axproxy.models.names import (
    CloudModel,
    InvalidName,
    ModelName,
    NoName,
    full_name,
    same_model,
    short_name,
)
from tests.support.fakes import QWEN, FakeModels

CONFIGURED = "qwen3:0.6b"


def find(name: str, configured: str) -> None:
    """Look the name up in a catalogue of one model."""
    FakeModels(replace(QWEN, name=configured)).find(name)


@pytest.mark.parametrize(
    "name",
    [
        "qwen3:0.6b",
        "QWEN3:0.6B",
        " qwen3:0.6b\n",
        "library/qwen3:0.6b",
        "Library/Qwen3:0.6b",
        "registry.ollama.ai/library/Qwen3:0.6b",
        "https://registry.ollama.ai/library/qwen3:0.6b",
        "qwen3:0.6b:local",
        "qwen3:0.6b:LOCAL ",
        "qwen3:0.6b@sha256:3bd6d254",
    ],
)
def test_a_model_has_several_names(name: str) -> None:
    find(name, CONFIGURED)


@pytest.mark.parametrize("name", ["mock", "mock:latest", "library/MOCK", "mock:local"])
def test_a_name_without_a_tag_means_latest(name: str) -> None:
    find(name, "mock:latest")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", NoName),
        ("  ", NoName),
        ("qwen3", UnknownModel),
        ("qwen3:0.6", UnknownModel),
        ("other/qwen3:0.6b", UnknownModel),
        ("library/library/qwen3:0.6b", UnknownModel),
        ("_a.b-c:_1.0-x", UnknownModel),
        ("localhost:5000/me/a:1", UnknownModel),
        ("a" * 80, UnknownModel),
        ("a" * 81, InvalidName),
        ("a:" + "b" * 81, InvalidName),
        ("qwen3:0.6b:latest", InvalidName),
        ("qwen3:", InvalidName),
        (":0.6b", InvalidName),
        ("/qwen3", InvalidName),
        ("me.you/qwen3", InvalidName),
        ("a/b/c/d", InvalidName),
        ("a b", InvalidName),
        ("-a", InvalidName),
        ("ä", InvalidName),
        ("a@", InvalidName),
        ("qwen3:cloud", CloudModel),
        ("qwen3:0.6b-cloud", CloudModel),
        ("qwen3:0.6b: Cloud", CloudModel),
        ("qwen3-cloud", UnknownModel),
        ("a:cloud/b", InvalidName),
        ("a:local:cloud", ClientError),
        ("a:b-cloud:local", ClientError),
    ],
)
def test_every_other_name_is_unknown_or_invalid(name: str, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        find(name, CONFIGURED)
    assert raised.type is error


@pytest.mark.parametrize(
    ("name", "short", "full"),
    [
        ("qwen3", "qwen3:latest", "registry.ollama.ai/library/qwen3:latest"),
        ("Library/A:B", "A:B", "registry.ollama.ai/Library/A:B"),
        ("me/a:b", "me/a:b", "registry.ollama.ai/me/a:b"),
        ("pi/library/a:b", "pi/library/a:b", "pi/library/a:b"),
    ],
)
def test_a_name_has_a_short_and_a_full_form(name: str, short: str, full: str) -> None:
    assert short_name(name) == short
    assert full_name(name) == full


def test_a_model_may_be_configured_under_a_name_that_ollama_rejects() -> None:
    find("My model (1)", "My model (1):latest")
    assert not same_model("My model (2)", "My model (1):latest")
    assert full_name("My model (1):latest") == "My model (1):latest"


@given(st.text("aZ9_-.:/@ ", max_size=12))
def test_a_valid_name_is_the_same_model_as_its_full_and_its_short_form(text: str) -> None:
    try:
        ModelName.parse(text)
    except InvalidName:
        return
    assert same_model(text, full_name(text))
    assert same_model(text, short_name(text))
