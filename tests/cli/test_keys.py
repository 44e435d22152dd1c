"""`ax650 keys` in a file of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from axproxy.api_keys import digest_of, find_key, parse_keys
from axproxy.cli.commands import run


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keys"
    monkeypatch.setenv("AX650_API_KEYS_FILE", str(path))
    return path


def test_a_key_is_printed_once_and_only_its_hash_is_kept(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("keys", ["add", "anna", "--rate", "30", "--models", "a,b"]) == 0
    key = capsys.readouterr().out.strip()
    text = file.read_text()
    found = find_key(parse_keys(text), [key.encode()])
    assert found
    assert (found.name, found.rate, found.models) == ("anna", 30, ("a", "b"))
    assert key not in text
    assert file.stat().st_mode & 0o777 == 0o644

    assert run("keys", ["list"]) == 0
    assert capsys.readouterr().out == "anna  rate=30 models=a,b\n"


def test_the_rest_of_the_file_stays_as_it_is(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = f"# ours\nbert  sha256:{digest_of(b'x')}   waiting=3\n"
    file.write_text(ours)
    file.chmod(0o600)
    assert run("keys", ["add", "anna"]) == 0
    assert file.read_text().startswith(ours)
    assert run("keys", ["remove", "anna"]) == 0
    assert file.read_text() == ours
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["keys"]
    assert "removed anna" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["add", "bert"], "there is a key bert"),
        (["add", "be rt"], "a name has letters"),
        (["add", "anna", "--rate", "0"], "rate must be"),
        (["add", "anna", "--models", "a b"], "is none of"),
        (["remove", "anna"], "there is no key anna"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    file.write_text(text := f"bert sha256:{digest_of(b'x')}\n")
    assert run("keys", arguments) == 1
    assert problem in capsys.readouterr().err
    assert file.read_text() == text


def test_without_the_setting_the_command_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AX650_API_KEYS_FILE", raising=False)
    assert run("keys", ["list"]) == 1
    assert "set AX650_API_KEYS_FILE" in capsys.readouterr().err


def test_a_broken_file_is_not_written(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("bert\n")
    assert run("keys", ["add", "anna"]) == 1
    assert "correct that line first" in capsys.readouterr().err
    assert file.read_text() == "bert\n"
