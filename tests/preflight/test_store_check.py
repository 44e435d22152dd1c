"""What the doctor says of the store beside its folders: the models that were made from others."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

from axproxy.models.derived import DERIVED, DerivedModels
from axproxy.models.model import ModelDefaults
from axproxy.preflight.checks import CHECKS
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding
from axproxy.preflight.store import check_store
from tests.preflight.machine import Machine
from tests.support.fakes import QWEN
from tests.support.model_folders import published_model


def store_of(pi: Machine, place: Path) -> CheckContext:
    published_model(place / "base", flat=True)
    made = DerivedModels(place)
    for name in ("pirate:latest", "corsair:latest"):
        made.create(name, replace(QWEN, name="base:latest"), ModelDefaults("Arr"), copy=False)
    return pi.context(AX650_MODELS_DIR=str(place))


def derived(context: CheckContext) -> list[Finding]:
    return check_store(context)[1:]


def test_models_made_from_one_that_is_here_are_no_finding(pi: Machine, tmp_path: Path) -> None:
    assert derived(store_of(pi, tmp_path)) == []


def test_a_model_whose_base_has_gone_is_named_with_the_file_to_remove(
    pi: Machine, tmp_path: Path
) -> None:
    context = store_of(pi, tmp_path)
    shutil.rmtree(tmp_path / "base")
    first, second = derived(context)
    assert first.verdict == second.verdict == "warn"
    assert first.seen.startswith("corsair:latest is not listed: base:latest")
    remedy = shlex.split(second.remedy.partition(" with: ")[2])
    assert remedy == ["rm", str(tmp_path / DERIVED / "pirate%3Alatest.json")]


def test_a_model_made_from_the_configured_one_is_no_finding(pi: Machine, tmp_path: Path) -> None:
    store_of(pi, tmp_path / "store")
    (tmp_path / "store" / "base").rename(tmp_path / "base")
    paths = {"AX650_MODELS_DIR": tmp_path / "store", "AX650_MODEL_PATH": tmp_path / "base"}
    context = pi.context(**{name: str(path) for name, path in paths.items()})
    assert derived(context) == []


def test_a_damaged_file_hides_no_broken_folder_and_no_other_file(
    pi: Machine, tmp_path: Path
) -> None:
    context = store_of(pi, tmp_path)
    (tmp_path / "base" / "qwen3_p128_l3_together.axmodel").unlink()
    (tmp_path / DERIVED / "pirate%3Alatest.json").write_text("{")
    folders, damaged, lost = check_store(context)
    assert "layer 3 is missing" in folders.seen
    assert "pirate%3Alatest.json is not what `ollama create` has written" in damaged.seen
    assert lost.seen.startswith("corsair:latest is not listed")


def test_an_alias_of_a_model_that_is_not_here_is_named(pi: Machine, tmp_path: Path) -> None:
    store_of(pi, tmp_path)
    aliases = "gpt-4o=base, a=Pirate:latest, *=qwen3:4b"
    context = pi.context(AX650_MODELS_DIR=str(tmp_path), AX650_MODEL_ALIASES=aliases)
    (finding,) = derived(context)
    assert finding.verdict == "warn"
    assert finding.seen == "AX650_MODEL_ALIASES names qwen3:4b as *, and there is no such model"
    assert finding.remedy.startswith("ax650 pull qwen3:4b, or ")


def test_the_doctor_runs_this_check() -> None:
    assert check_store in [check.run for check in CHECKS]
