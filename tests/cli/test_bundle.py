"""`ax650 bundle`: what is in the archive, and what must never be."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import responses

from axproxy.cli.bundle import hide, kernel_lines, log_of, secrets_in, without_debug
from axproxy.cli.commands import run
from axproxy.cli.service import CommandFailed
from axproxy.preflight.unit_settings import UnitSettings
from axproxy.settings import Settings

PROMPT, KEY, TOKEN = "my secret prompt", 'k"ey-0815', "hf_token0815"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "ax650.log"
    monkeypatch.setenv("AX650_LOG_FILE", str(file))
    monkeypatch.setenv("AX650_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return file


@responses.activate
def test_no_prompt_no_key_and_no_token_is_in_the_archive(log: Path, tmp_path: Path) -> None:
    log.write_text(
        "2026-11-27 00:00:00,000 INFO    backend: version 1\n"
        f"2026-11-27 00:00:01,000 DEBUG   engine: prompt: {PROMPT}\n"
        f"and {PROMPT} goes on\n"
        f"2026-11-27 00:00:02,000 INFO    x: somehow {KEY} and {TOKEN} were logged\n"
        f'{{"level": "debug", "message": "{PROMPT}"}}\n'
    )
    url = Settings().own_url
    responses.get(f"{url}/health", json={"status": "ok", "note": f"{KEY} {TOKEN}"})
    out = tmp_path / "bundle.tar.gz"
    assert run("bundle", ["--out", str(out)]) == 0

    assert out.stat().st_mode & 0o777 == 0o600
    with tarfile.open(out) as archive:
        parts = {
            entry.name: archive.extractfile(entry).read().decode()  # type: ignore[union-attr]  # a file
            for entry in archive.getmembers()
        }
    assert set(parts) == {
        f"ax650/{name}"
        for name in (
            "about.txt",
            "config.json",
            "doctor.json",
            "health.json",
            "models.json",
            "loaded.json",
            "log.txt",
            "kernel.txt",
        )
    }
    whole = "".join(parts.values())
    for secret in (PROMPT, KEY, TOKEN, 'k\\"ey-0815'):
        assert secret not in whole
    assert "version 1" in parts["ax650/log.txt"]
    assert '"status": "ok"' in parts["ax650/health.json"]
    assert "not available: no service answers" in parts["ax650/models.json"]
    assert "AX650_API_KEY" in parts["ax650/config.json"]


def test_an_archive_that_cannot_be_written_is_said(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("bundle", ["--out", str(tmp_path / "none" / "x.tar.gz")]) == 1
    assert "use --out" in capsys.readouterr().err


def test_lines_at_debug_go_with_what_follows_them() -> None:
    journal = "<6>a: kept\n<7>b: prompt\nmore of it\n<4>c: kept, too\n"
    assert without_debug(journal) == "<6>a: kept\n<4>c: kept, too\n"
    syslog = "Nov 27 00:00:00 pi ax650[1]: kept\n"
    assert without_debug(syslog) == syslog


def test_only_the_kernels_lines_about_the_card_and_memory_are_taken() -> None:
    text = "[1] usb 1-1: new device\n[2] AXCL: heartbeat lost\n[3] Out of memory: killed\n"
    assert kernel_lines(text) == "[2] AXCL: heartbeat lost\n[3] Out of memory: killed\n"


def test_secrets_of_the_unit_are_hidden_as_well() -> None:
    unit = UnitSettings({"AX650_API_KEY": "of the unit", "HF_TOKEN": "also"})
    assert set(secrets_in(Settings(api_key="here"), "", unit)) == {"of the unit", "also", "here"}
    assert hide("here and there", ["here"]) == "(hidden) and t(hidden)"


def test_without_a_log_the_other_parts_are_there() -> None:
    with pytest.raises(CommandFailed):
        log_of(None, installed=False)
