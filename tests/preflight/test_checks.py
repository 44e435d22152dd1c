"""The list of checks, and the names that `AX650_PREFLIGHT_SKIP` may hold."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import backend
from axproxy.cli import foreground
from axproxy.cli import main as command
from axproxy.preflight.checks import CHECK_NAMES, require_known_checks
from axproxy.settings import Settings, SettingsError

SENTENCE = (
    "AX650_PREFLIGHT_SKIP must be names of checks: binary, libraries, model-folder, models-dir, "
    "pcie, driver, device-node, kernel-log, card, device-id, cmm, cma, ports, memory, temperature, "
    "governor, log-folder, api-keys"
)


def test_each_check_has_a_name_of_its_own() -> None:
    assert len(set(CHECK_NAMES)) == len(CHECK_NAMES)


def test_every_name_of_a_check_may_be_skipped() -> None:
    require_known_checks(Settings(preflight_skip=CHECK_NAMES))


@pytest.mark.parametrize(
    ("value", "end"),
    [
        ("binry", " (did you mean binary?), not 'binry'"),
        ("cma,xyzzy", ", not 'cma,xyzzy'"),
    ],
)
def test_an_unknown_check_is_refused_with_the_names_there_are(value: str, end: str) -> None:
    settings = Settings.from_env({"AX650_PREFLIGHT_SKIP": value})
    with pytest.raises(SettingsError) as refusal:
        require_known_checks(settings)
    assert str(refusal.value) == SENTENCE + end


def test_the_application_is_not_made_with_an_unknown_check_to_skip() -> None:
    with pytest.raises(SettingsError, match="did you mean binary"):
        backend.create_app(Settings(preflight_skip=("binry",)))


def never(_settings: Settings) -> foreground.Supervisor:
    raise AssertionError


@pytest.mark.parametrize(
    "start",
    [lambda: command.main([]), lambda: foreground.run_in_foreground(never)],
    ids=["backend", "runtime_supervisor"],
)
def test_a_command_with_an_unknown_check_to_skip_ends_with_status_2(
    start: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AX650_PREFLIGHT_SKIP", "binry")
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("the service was started"))
    monkeypatch.setattr(foreground.signal, "signal", lambda *_: None)
    assert start() == 2
    assert f": {SENTENCE} (did you mean binary?), not 'binry'\n" in capsys.readouterr().err
