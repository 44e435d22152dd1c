"""The page `/ui` in Chromium."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.service import ROOT, Service, Start
from tests.system.clients.conftest import RunJs

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not Path("/usr/bin/chromium").exists(), reason="there is no Chromium: apt install chromium"
    ),
]


@pytest.fixture(scope="module", name="service")
def service_with_a_page(
    start_shared_service: Start, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    place = tmp_path_factory.mktemp("store")
    for name in ("small", "large"):
        shutil.copytree(ROOT / "axmock" / "axllm" / "model", place / name)
    return start_shared_service(
        AX650_RUNTIME="mock",
        AX650_MODELS_DIR=str(place),
        AX650_PRELOAD="small",
        AX650_MOCK_ARGS="--load-seconds 0.5 --tokens-per-second 60",
    )


def looked(service: Service, run_js: RunJs, scenario: str) -> dict[str, object]:
    """Run a scenario; the page must reach no other host, break no rule and not fail."""
    result: dict[str, object] = run_js(service, scenario, "page.mjs")
    assert result.pop("problems") == []
    return result


def test_a_browser_is_led_to_the_page_and_what_a_model_writes_is_never_html(
    service: Service, run_js: RunJs
) -> None:
    result = looked(service, run_js, "chat")
    assert result["url"] == f"{service.base}/ui"
    assert (result["strong"], result["images"], result["title"]) == ("bold", 0, "AX650")
    assert result["thinking"] is True
    assert "tokens/s, first text after" in str(result["speed"])
    assert "a SIMULATOR answers" in str(result["status"])


def test_an_answer_is_stopped_and_the_chat_goes_on(service: Service, run_js: RunJs) -> None:
    assert "And now?" in str(looked(service, run_js, "stop")["last"])


def test_models_are_loaded_switched_and_unloaded(service: Service, run_js: RunJs) -> None:
    assert looked(service, run_js, "switch") == {"models": 2}


def test_a_pull_shows_its_progress_and_its_refusal(service: Service, run_js: RunJs) -> None:
    assert looked(service, run_js, "pull") == {"bar": 1}


def test_a_restart_and_its_end_are_seen_live(service: Service, run_js: RunJs) -> None:
    assert looked(service, run_js, "crash") == {"back": True}


def test_the_page_works_by_keyboard_on_a_narrow_screen(service: Service, run_js: RunJs) -> None:
    assert looked(service, run_js, "keyboard") == {"wide": False, "focused": "question"}


def test_axe_finds_nothing_in_either_colour_scheme(service: Service, run_js: RunJs) -> None:
    assert looked(service, run_js, "accessible") == {"found": []}


def test_the_key_is_asked_for_once_and_kept_for_the_tab_only(
    start_service: Start, run_js: RunJs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UI_KEY", "s3cret")
    locked = start_service(AX650_API_KEY="s3cret", wait=False)
    assert looked(locked, run_js, "key") == {"stored": [1, 0, ""]}
