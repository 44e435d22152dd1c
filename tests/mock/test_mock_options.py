"""The command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from axmock.kv_cache import Shape
from axmock.options import Options, UsageError, device_ids, parse, usage
from axmock.startup import loading_order
from tests.mock.conftest import ROOT


def test_values_come_after_a_space_or_an_equals_sign() -> None:
    options = parse(["--axmodel_num", "4", "--devices=0", "--reply=a=b", "word"]).options

    assert (options.axmodel_num, options.devices, options.reply) == (4, "0", "a=b")


def test_without_flags_everything_has_a_default() -> None:
    assert parse([]).options == Options()


def test_a_value_that_looks_like_a_flag_is_a_value() -> None:
    assert parse(["--reply", "--help"]).options.reply == "--help"


@pytest.mark.parametrize(("flag", "code"), [("", 255), ("=3", 3)])
def test_exit_during_load_takes_its_code_only_with_an_equals_sign(flag: str, code: int) -> None:
    options = parse([f"--exit-during-load{flag}", "7", "--bad-utf8"]).options

    assert (options.exit_during_load, options.bad_utf8) == (code, True)


COMPLAINTS = {
    "--live_print 1": "undefined option: --live_print",
    "--load_seconds 1": "undefined option: --load_seconds",
    "--x=1 --y": "undefined option: --x",
    "--devices": "option needs value: --devices",
    "--axmodel_num x": "option value is invalid: --axmodel_num=x",
    "--use_mmap_load_embed 2": "option value is invalid: --use_mmap_load_embed=2",
    "--bad-utf8=1": "option value is invalid: --bad-utf8=1",
    "-x": "undefined short option: -x",
}


@pytest.mark.parametrize("words", COMPLAINTS)
def test_complaints_are_the_vendors(words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words.split())

    assert str(caught.value) == COMPLAINTS[words]


@pytest.mark.parametrize("words", [["--help"], ["-?"], ["--nonsense", "--help"]])
def test_help_wins_over_complaints(words: list[str]) -> None:
    assert parse(words).wants_help


def test_devices_are_read_as_stoi_does() -> None:
    assert device_ids("0, 1x,") == [0, 1]


@pytest.mark.parametrize("text", ["x", "0,,1", "0,x"])
def test_devices_that_stoi_refuses_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        device_ids(text)


def test_usage_has_a_line_for_each_flag_and_a_sentence_for_each_fault() -> None:
    text = usage("mock_main_api.py")

    assert "      --axmodel_num                  num of axmodel(for template) (int [=22])\n" in text
    faults = [line for line in text.splitlines() if " fault: " in line]
    assert len(faults) == 14
    assert all(len(line.partition(" fault: ")[2].split()) >= 4 for line in faults)


def test_layers_are_reported_by_two_loading_threads() -> None:
    assert list(loading_order(4)) == [2, 0, 3, 1]
    assert list(loading_order(5)) == [3, 0, 4, 1, 2]


def test_a_limit_between_two_chunks_is_the_last_group() -> None:
    assert Shape(1, 128, 200, 1023, 1).groups == (1, 128, 200)


def run(cwd: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "mock_main_api.py"), *flags]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.integration
def test_help_goes_to_stderr_and_exits_0(tmp_path: Path) -> None:
    ended = run(tmp_path, "--help")

    assert (ended.returncode, ended.stdout) == (0, "")
    assert "--crash-after-tokens" in ended.stderr


@pytest.mark.integration
def test_an_unknown_flag_exits_1_with_usage(tmp_path: Path) -> None:
    ended = run(tmp_path, "--kvcache_path", "x")

    assert ended.returncode == 1
    assert ended.stderr.startswith("undefined option: --kvcache_path\nusage: ")


@pytest.mark.integration
def test_devices_that_are_no_numbers_abort(tmp_path: Path) -> None:
    ended = run(tmp_path, "--devices", "x")

    assert ended.returncode == -6
    assert ended.stderr.endswith("  what():  stoi\n")
    assert not list(tmp_path.glob("core*"))
