"""A path that the service's user may not read comes with the command that opens it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from axproxy.models import access
from axproxy.models.access import why_closed, why_no_folder
from axproxy.models.description import describe_model
from axproxy.models.folder import ModelFolder, ModelFolderError
from axproxy.models.tokenizer_files import TokenizerFolderError, find_tokenizer
from axproxy.settings import Settings
from tests.support.model_folders import published_model

Close = Callable[[Path], None]


@pytest.fixture
def close(monkeypatch: pytest.MonkeyPatch) -> Close:
    """Return what closes a folder to us as the kernel does it, even where the tests run as root."""
    monkeypatch.setattr(access, "_user", lambda: "the user ax650")
    closed: list[Path] = []
    stat, scandir, open_ = os.stat, os.scandir, Path.open

    def within(path: object) -> bool:
        return isinstance(path, str | Path) and any(at in Path(path).parents for at in closed)

    def refuse(path: object, itself: bool = False) -> None:
        if within(path) or (itself and Path(str(path)) in closed):
            raise PermissionError(13, "Permission denied", str(path))

    def checked_stat(path: object, *args: object, **options: object) -> os.stat_result:
        refuse(path)
        return stat(path, *args, **options)  # type: ignore[call-overload, no-any-return]

    def checked_scandir(path: object = ".") -> object:
        refuse(path, itself=True)
        return scandir(path)  # type: ignore[call-overload]

    def checked_open(path: Path, *args: object, **options: object) -> object:
        refuse(path)
        return open_(path, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "stat", checked_stat)
    monkeypatch.setattr(os, "scandir", checked_scandir)
    monkeypatch.setattr(Path, "open", checked_open)
    monkeypatch.setattr(
        os, "access", lambda path, _mode: not within(path) and Path(path) not in closed
    )
    return closed.append


@pytest.mark.parametrize("link", [False, True])
def test_a_closed_home_is_named_with_the_command_that_opens_it(
    tmp_path: Path, close: Close, link: bool
) -> None:
    home = tmp_path / "home" / "pi"
    model = published_model(home / "models" / "Qwen3-0.6B")
    (tmp_path / "link").symlink_to(model)
    close(home)
    sentence = f"the user ax650 may not enter {home}; sudo chmod a+x {home}"
    path = tmp_path / "link" if link else model
    assert why_no_folder(path) == sentence
    for read, error in (
        (ModelFolder.read, ModelFolderError),
        (find_tokenizer, TokenizerFolderError),
    ):
        with pytest.raises(error) as raised:
            read(path)
        assert str(raised.value) == sentence
    described = describe_model(Settings(model_path=path, model_name="q"))
    assert (described.name, described.capabilities) == ("q:latest", ("completion",))


def test_a_closed_model_is_to_be_opened_with_all_that_is_in_it(
    tmp_path: Path, close: Close
) -> None:
    model = published_model(tmp_path / "my model")
    close(model)
    sentence = f"the user ax650 may not read {model}; sudo chmod -R a+rX '{model}'"
    assert why_closed(model) == sentence
    with pytest.raises(ModelFolderError) as raised:
        ModelFolder.read(model.parent)  # the folder above can be read
    assert str(raised.value) == sentence


def test_what_is_not_there_is_not_closed(tmp_path: Path) -> None:
    assert why_closed(tmp_path / "nothing" / "at" / "all") is None
    assert "does not exist" in (why_no_folder(tmp_path / "nothing") or "")
    assert why_no_folder(tmp_path) is None
