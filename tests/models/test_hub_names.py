"""Which repository a name means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.models.hub_names import OWN_TABLE, Source, UnknownSource, known_names, source_of


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("AXERA-TECH/Qwen3-1.7B", Source("AXERA-TECH/Qwen3-1.7B")),
        ("AXERA-TECH/Qwen3-1.7B:latest", Source("AXERA-TECH/Qwen3-1.7B")),
        ("hf.co/AXERA-TECH/Qwen3-1.7B:v2", Source("AXERA-TECH/Qwen3-1.7B", "v2")),
        ("https://huggingface.co/me/It", Source("me/It")),
    ],
)
def test_a_repository_is_named_as_it_is_everywhere(name: str, source: Source) -> None:
    assert source_of(name) == source


@pytest.mark.parametrize("name", ["qwen3:1.7b", "QWEN3:1.7B", " qwen3:1.7b ", "qwen3:1.7b:latest"])
def test_short_names_mean_a_pinned_repository(name: str) -> None:
    source = source_of(name)
    assert source.repository == "AXERA-TECH/Qwen3-1.7B"
    assert re.fullmatch("[0-9a-f]{40}", source.revision)
    assert (source.name, source.folder) == ("qwen3:1.7b", "Qwen3-1.7B")


def test_every_name_of_the_table_is_one_that_clients_can_ask_for() -> None:
    for name in known_names():
        source = source_of(name)
        assert source.name == name
        assert source.revision == "main" or len(source.revision) == 40
    assert len(known_names()) > 30


def test_the_nearest_names_are_offered() -> None:
    with pytest.raises(UnknownSource, match=r"try qwen3:1\.7b"):
        source_of("qwen3:1.7")


def test_the_owners_table_adds_names_and_wins(tmp_path: Path) -> None:
    table = tmp_path / OWN_TABLE
    table.write_text('["qwen3:1.7b"]\nrepository = "me/Mine"\n["new"]\nrepository = "me/New"\n')
    assert source_of("qwen3:1.7b", table) == Source("me/Mine", "main", "qwen3:1.7b")
    assert source_of("new", table).repository == "me/New"
    assert source_of("qwen3:4b", table).repository == "AXERA-TECH/Qwen3-4B"


@pytest.mark.parametrize("text", ["[", '["a"]', '["a"]\nrepository = "x"', "a = 3", "\xff"])
def test_a_damaged_table_of_the_owners_is_named(tmp_path: Path, text: str) -> None:
    table = tmp_path / OWN_TABLE
    table.write_text(text, encoding="latin-1")
    with pytest.raises(UnknownSource, match=str(table)):
        source_of("qwen3:1.7b", table)


@given(st.text(max_size=60) | st.from_regex(r"[\w./:-]{1,60}", fullmatch=True))
def test_no_name_leads_out_of_the_hub_or_of_the_store(name: str) -> None:
    try:
        source = source_of(name)
    except UnknownSource:
        return
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", source.repository, re.ASCII)
    assert source.folder not in (".", "..")
    assert ".." not in source.repository + source.revision
