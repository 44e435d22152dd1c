"""The store: which folders are models, and by which names clients find them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from axproxy.engine.runtime import Timeouts
from axproxy.errors import UnknownModel
from axproxy.models.catalog import ModelCatalog
from axproxy.models.pull_plan import MAIN_API
from axproxy.models.pull_progress import PullProgress
from axproxy.models.store import (
    RECORD,
    TRASH,
    ModelStore,
    default_store,
    settings_for,
    with_stored_model,
)
from axproxy.settings import Settings
from backend import create_pool
from tests.support.axengine_models import encoder, layered_model, write_table
from tests.support.fakes import QWEN
from tests.support.model_folders import axllm_model, published_model

VENDOR = Settings(runtime="vendor")


@pytest.fixture(name="place")
def store_folder(tmp_path: Path) -> Path:
    axllm_model(tmp_path / "Qwen3-0.6B")
    published_model(tmp_path / "qwen2.5-1.5b", flat=True)
    return tmp_path


def names(store: ModelStore) -> list[str]:
    return [model.name for model in store.models()]


def test_each_usable_folder_is_a_model_for_the_program_that_it_is_made_for(place: Path) -> None:
    models = ModelStore(VENDOR, place).models()
    assert [(model.name, model.runtime) for model in models] == [
        ("Qwen3-0.6B:latest", "axllm"),
        ("qwen2.5-1.5b:latest", "main_api"),
    ]
    assert [model.parameter_size for model in models] == ["0.6B", "1.5B"]
    assert all(model.size > 300_000_000 for model in models)


def test_what_is_no_model_is_left_out_and_what_is_broken_has_its_reason(place: Path) -> None:
    (place / "lost+found").mkdir()
    (place / ".pulls").mkdir()
    (place / "notes.txt").write_text("mine")
    (place / "Qwen3-0.6B" / "qwen3_p128_l1_together.axmodel").unlink()
    folders = ModelStore(VENDOR, place).folders()
    assert [each.folder.name for each in folders] == ["Qwen3-0.6B", "qwen2.5-1.5b"]
    assert folders[0].model is None
    assert "names qwen3_p128_l1_together.axmodel" in str(folders[0].problem)


def test_folders_that_come_and_go_are_seen_without_a_restart(place: Path) -> None:
    store = ModelStore(VENDOR, place)
    before = names(store)
    axllm_model(place / "another")
    assert names(store) == sorted([*before, "another:latest"])
    shutil.rmtree(place / "another")
    assert names(store) == before


def test_files_that_are_replaced_are_read_again(place: Path) -> None:
    store = ModelStore(VENDOR, place)
    first = store.models()[0]
    (place / "Qwen3-0.6B" / "qwen3_post.axmodel").unlink()
    assert store.folders()[0].model is None
    (place / "Qwen3-0.6B" / "qwen3_post.axmodel").write_bytes(b"longer than before" * 1000)
    assert store.models()[0].digest != first.digest


def test_a_folder_that_did_not_change_is_not_read_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(VENDOR, place)
    names(store)
    monkeypatch.setattr(
        "axproxy.models.store.describe_model", lambda *_: pytest.fail("it was described again")
    )
    assert len(names(store)) == 2


def test_within_a_moment_the_list_is_what_it_was(place: Path) -> None:
    now = [10.0]
    store = ModelStore(VENDOR, place, 1.0, lambda: now[0])
    before = names(store)
    axllm_model(place / "another")
    assert names(store) == before
    now[0] += 1.0
    assert "another:latest" in names(store)


def test_a_model_that_came_within_the_moment_is_found_by_its_name(place: Path) -> None:
    catalog = ModelCatalog(None, ModelStore(VENDOR, place, 1.0, lambda: 10.0))
    assert len(catalog.all()) == 2
    axllm_model(place / "another")
    assert catalog.find("another").name == "another:latest"


def test_a_model_is_listed_as_soon_as_its_pull_reports_success(place: Path) -> None:
    def pull(name: str) -> Generator[PullProgress, None, None]:
        yield PullProgress("pulling manifest")
        axllm_model(place / name)
        yield PullProgress("success")

    catalog = ModelCatalog(None, ModelStore(VENDOR, place, 1.0, lambda: 10.0), pull=pull)
    before = len(catalog.all())
    for _ in catalog.pull("another"):
        pass
    assert len(catalog.all()) == before + 1


def test_a_pulled_folder_has_the_name_and_digest_of_its_pull(place: Path) -> None:
    record = {"name": "qwen3:0.6b", "digest": "ab" * 32, "files": []}
    (place / "Qwen3-0.6B" / RECORD).write_text(json.dumps(record))
    model = ModelStore(VENDOR, place).models()[0]
    assert (model.name, model.digest) == ("qwen3:0.6b", "ab" * 32)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"name": 3}', "null", '{"name": ""}', "[" * 9999])
def test_a_damaged_record_of_a_pull_hides_no_model(place: Path, text: str) -> None:
    (place / "Qwen3-0.6B" / RECORD).write_text(text)
    assert names(ModelStore(VENDOR, place))[0] == "Qwen3-0.6B:latest"


def test_of_two_folders_with_one_name_the_second_is_refused(place: Path) -> None:
    (place / "qwen2.5-1.5b" / RECORD).write_text('{"name": "QWEN3-0.6b"}')
    second = ModelStore(VENDOR, place).folders()[1]
    assert second.model is None
    assert "rename the folder" in str(second.problem)


def test_a_store_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert ModelStore(VENDOR, tmp_path / "none").folders() == []


def test_a_program_in_the_folder_is_used_unless_one_is_configured(place: Path) -> None:
    folder = place / "qwen2.5-1.5b"
    (folder / MAIN_API).touch()
    assert settings_for(VENDOR, folder).runtime_bin == folder / MAIN_API
    configured = replace(VENDOR, runtime_bin=Path("/opt/main_api"))
    assert settings_for(configured, folder).runtime_bin == Path("/opt/main_api")


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"HOME": "/home/pi"}, "/home/pi/.local/share/ax650/models"),
        ({"HOME": "/home/pi", "XDG_DATA_HOME": "/data"}, "/data/ax650/models"),
    ],
)
def test_the_default_store_is_in_the_users_data_folder(environ: dict[str, str], place: str) -> None:
    assert default_store(environ) == Path(place)


def test_without_a_model_path_the_newest_model_of_the_store_is_the_default(place: Path) -> None:
    for file in (place / "Qwen3-0.6B").iterdir():
        os.utime(file, (1, 1))
    environ = {"AX650_MODELS_DIR": str(place)}
    chosen = with_stored_model(Settings.from_env(environ), environ)
    assert (chosen.model_path, chosen.runtime_kind) == (place / "qwen2.5-1.5b", "vendor")
    preferred = {**environ, "AX650_PRELOAD": "none:such, qwen3-0.6b"}
    chosen = with_stored_model(Settings.from_env(preferred), preferred)
    assert (chosen.model_path, chosen.runtime) == (place / "Qwen3-0.6B", "axllm")


def test_pyaxengine_runs_every_folder_of_the_store_that_fits_it(tmp_path: Path) -> None:
    layered_model(tmp_path / "tiny")
    write_table(encoder(tmp_path / "single"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "half_l1_together.axmodel").write_bytes(b"x")
    environ = {"AX650_RUNTIME": "axengine", "AX650_MODELS_DIR": str(tmp_path)}
    settings = Settings.from_env(environ)
    store = ModelStore(settings, tmp_path)

    assert {model.name for model in store.models()} == {"tiny:latest", "single:latest"}
    assert {model.runtime for model in store.models()} == {"axengine"}
    assert [folder.folder.name for folder in store.folders() if folder.problem] == ["other"]
    assert with_stored_model(settings, environ).runtime == "axengine"


@pytest.mark.parametrize("runtime", ["mock", "mock-axllm", "attach"])
def test_a_stored_model_takes_the_place_of_nothing_that_was_asked_for(
    place: Path, runtime: str
) -> None:
    environ = {"AX650_MODELS_DIR": str(place), "AX650_RUNTIME": runtime}
    settings = Settings.from_env(environ)
    assert with_stored_model(settings, environ) == settings
    environ = {"AX650_MODELS_DIR": str(place), "AX650_MODEL_PATH": "/elsewhere"}
    settings = Settings.from_env(environ)
    assert with_stored_model(settings, environ) == settings


# The catalogue


def test_the_configured_model_is_listed_once_and_first(place: Path) -> None:
    linked = place.parent / "link"
    linked.symlink_to(place / "qwen2.5-1.5b")
    configured = replace(QWEN, name="mine:latest", folder=linked)
    catalog = ModelCatalog(lambda: configured, ModelStore(VENDOR, place))
    assert [model.name for model in catalog.all()] == ["mine:latest", "Qwen3-0.6B:latest"]
    assert catalog.default().name == "mine:latest"


def test_models_are_found_by_name_and_by_alias(place: Path) -> None:
    aliases = {"gpt-4o": "qwen3-0.6b", "x": "gone"}
    catalog = ModelCatalog(None, ModelStore(VENDOR, place), aliases=aliases)
    assert catalog.find("QWEN2.5-1.5B").name == "qwen2.5-1.5b:latest"
    assert catalog.find("gpt-4o").name == "Qwen3-0.6B:latest"
    for name in ("x", "llama3"):
        with pytest.raises(UnknownModel, match="this service has 'Qwen3-0.6B:latest', 'qwen2"):
            catalog.find(name)


def test_a_star_answers_every_name(place: Path) -> None:
    aliases = {"*": "qwen3-0.6b", "small": "qwen2.5-1.5b"}
    catalog = ModelCatalog(None, ModelStore(VENDOR, place), aliases=aliases)
    assert catalog.find("gpt-4o-mini").name == "Qwen3-0.6B:latest"
    assert catalog.find("small:latest").name == "qwen2.5-1.5b:latest"


def test_an_empty_catalogue_says_how_to_get_a_model(tmp_path: Path) -> None:
    catalog = ModelCatalog(None, ModelStore(VENDOR, tmp_path))
    assert catalog.all() == []
    with pytest.raises(UnknownModel, match="pull"):
        catalog.default()


def test_the_context_is_what_the_runtime_has_reported(place: Path) -> None:
    catalog = ModelCatalog(None, ModelStore(VENDOR, place), context_length=lambda _model: 2559)
    assert {model.context_length for model in catalog.all()} == {2559}


def test_the_rest_of_a_deletion_that_was_broken_off_goes_with_the_next_start(place: Path) -> None:
    (place / TRASH).mkdir()
    (place / "Qwen3-0.6B").rename(place / TRASH / "Qwen3-0.6B")
    create_pool(replace(VENDOR, models_dir=place), Timeouts(), place)
    assert not (place / TRASH).exists()
    assert names(ModelStore(VENDOR, place))
