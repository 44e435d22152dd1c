"""`ax650 pull`, straight into the store of a checkout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from axproxy.cli.commands import run
from axproxy.cli.pull import PullSpeed, give_to_owner
from axproxy.models.pull_progress import PullProgress
from axproxy.models.store import RECORD
from tests.support.hub import FakeHub
from tests.support.model_folders import axllm_model


@pytest.fixture(name="hub")
def serving_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    hub = FakeHub()
    published = axllm_model(tmp_path / "published")
    (published / "model.embed_tokens.weight.bfloat16.bin").write_bytes(b"e" * 8192)
    hub.files = {file.name: file.read_bytes() for file in published.iterdir()}
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("AX650_MODELS_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("AX650_RUNTIME", "mock")
    with hub.serving():
        yield hub


def test_a_model_is_pulled_without_a_service(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("pull", ["qwen3:0.6b"]) == 0
    assert hub.asked_for("/resolve/")
    assert (tmp_path / "store" / "Qwen3-0.6B" / "config.json").is_file()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pulling manifest"
    assert "success" in lines
    assert any("100 %" in line for line in lines)
    assert f"The model is in {tmp_path / 'store'}; a service that runs sees it at once." in lines


def test_what_root_has_pulled_belongs_to_the_owner_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pulled/config.json", f"pulled/{RECORD}", "own/file", ".pulls/a/b.part"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    given: list[str] = []

    def chown(path: Path, _user: int, _group: int, *, follow_symlinks: bool) -> None:
        assert not follow_symlinks
        given.append(str(path.relative_to(tmp_path)))

    monkeypatch.setattr("os.chown", chown)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    give_to_owner(tmp_path)
    assert given == []
    if (tmp_path / "own").lstat().st_uid:
        pytest.skip("only root can make files of root")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    give_to_owner(tmp_path)
    assert {"pulled", "pulled/config.json", ".pulls/a/b.part"} <= set(given)
    assert not any(path.startswith("own") for path in given)


def test_a_pull_that_fails_says_why(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.status = {"/revision/": [404]}
    assert run("pull", ["me/none"]) == 1
    assert "has no me/none at main; check the name" in capsys.readouterr().err
    assert run("pull", []) == 1
    assert "name a model, such as: pull qwen3:1.7b" in capsys.readouterr().err


def test_the_known_names_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pull", ["--list"]) == 0
    assert "qwen3:1.7b" in capsys.readouterr().out.splitlines()


def test_the_line_about_a_pull_has_bytes_speed_and_time_left_and_fits_the_terminal() -> None:
    speed = PullSpeed()
    step = PullProgress("pulling 0123456789ab", "0" * 64, 5_400_000_000, 1_000_000_000)
    assert speed.line(step, 0.0) == ("pulling [####................] 19 %, 1.0 GB of 5.4 GB")
    later = PullProgress(step.status, step.digest, step.total, 1_020_000_000)
    line = speed.line(later, 1.0)
    assert line.endswith("1.0 GB of 5.4 GB, 20 MB/s, 3 min 39 s left")
    assert len(line) <= 79
    assert speed.line(PullProgress("a\x1b[2J"), 2.0) == "a\\x1b[2J"
