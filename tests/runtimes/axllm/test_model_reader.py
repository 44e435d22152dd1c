"""A folder for `axllm` whose files are replaced while the service runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import backend
from axproxy.engine.runtime import Timeouts
from axproxy.messages import ChatRequest, Message
from axproxy.models.axllm_folder import AxllmFolder
from axproxy.prompts.fitting import Window
from axproxy.runtimes.axllm.launch import SIMULATED_MODEL
from axproxy.runtimes.axllm.runtime import AxllmFacts, AxllmRuntime
from axproxy.settings import Settings

HI = ChatRequest(messages=(Message("user", "Hi"),), think=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SIMULATED_MODEL, tmp_path / "model"))


def replace_config(folder: Path, **changes: str) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def prompt_of(runtime: AxllmRuntime) -> str:
    return runtime.prepare(HI, lambda: False, wait=True).prompt_text


def test_a_replaced_folder_is_read_anew_when_that_is_said(folder: Path) -> None:
    facts = SimpleNamespace(
        model_folder=lambda: AxllmFolder.read(folder), window=lambda: Window(2048, 1024)
    )
    runtime = AxllmRuntime(cast(Any, None), cast(AxllmFacts, facts), cast(Any, None))
    before = prompt_of(runtime)
    replace_config(folder, model_name="Qwen2.5-0.5B", tokenizer_type="Qwen2_5")
    assert prompt_of(runtime) == before

    runtime.read_folder_anew()
    assert prompt_of(runtime) != before


def test_a_new_process_has_the_folder_read_anew_only_if_it_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    recipe = SimpleNamespace(refresh_model=None)
    runtime = SimpleNamespace(read_folder_anew=lambda: read.append("anew"))
    monkeypatch.setattr(backend, "AxllmSupervisor", lambda _: SimpleNamespace(recipe=recipe))
    monkeypatch.setattr(backend, "AxllmRuntime", lambda *_, **__: runtime)
    monkeypatch.setattr(backend, "SerialEngine", lambda *_: None)
    settings = Settings(runtime="mock-axllm", model_path=folder)
    backend.axllm_engine(settings, Timeouts(), backend.described_model(settings))

    recipe.refresh_model(None)
    assert read == []
    replace_config(folder, model_name="AXERA-TECH/a-longer-name-than-before")
    recipe.refresh_model(None)
    assert read == ["anew"]
