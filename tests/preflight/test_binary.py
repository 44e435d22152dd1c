"""The vendor's program must exist and be that program."""

from __future__ import annotations

from pathlib import Path

import pytest

from axproxy.preflight.binary import check_binary
from axproxy.preflight.finding import Finding
from tests.preflight.machine import Machine, elf
from tests.support.model_folders import axllm_model

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:3558444d93ce7459db247421128aca6ba3fdbde5932eff6aea66653fa7370cdf\nsize 1816560\n"
)


def look(pi: Machine, file: Path, machine: str = "aarch64") -> Finding:
    environ = {"AX650_RUNTIME_BIN": str(file), "AX650_MODEL_PATH": str(file.parent)}
    context = pi.context_of_files(**environ)
    return check_binary(type(context)(context.settings, context.root, machine))


def program(folder: Path, content: bytes, name: str = "main_api_axcl_aarch64") -> Path:
    file = folder / name
    file.write_bytes(content)
    file.chmod(0o755)
    return file


def test_the_vendors_program_for_this_machine_passes(pi: Machine, tmp_path: Path) -> None:
    file = program(tmp_path, elf("libaxcl_rt.so", size=5000))
    assert look(pi, file) == Finding("binary", "ok", f"{file} is a program for aarch64")


# What is in the place of the program: a part of the sentence, and one of the remedy.
OTHERS = {
    "LFS pointer": (POINTER.encode(), "git-LFS pointer", "git lfs pull"),
    "web page": (b"<!DOCTYPE html><html>404", "saved web page", "download"),
    "refusal": (b"Invalid username or password.", "'Invalid username or password.'", "download"),
    "script": (b"#!/bin/sh\nexec main_api\n", "a script", "AX650_PREFLIGHT_SKIP=binary"),
    "garbage": (b"\0\1\2\3" * 99, "is not a program", "AX650_RUNTIME_BIN"),
    "empty": (b"", "is not a program", "AX650_RUNTIME_BIN"),
    "cut short": (b"\x7fELF\x02\x01", "is not a program", "AX650_RUNTIME_BIN"),
    "x86": (elf(machine=62), "for x86_64, but this machine is aarch64", "main_api_axcl_aarch64"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_file_that_is_not_the_program_is_described(
    pi: Machine, tmp_path: Path, what: str
) -> None:
    content, seen, remedy = OTHERS[what]
    finding = look(pi, program(tmp_path, content))
    assert finding.verdict == "fail"
    assert seen in finding.seen
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("main_axcl_aarch64", "no HTTP API"),
        ("main_ax650", "AX650 itself is the host"),
        ("main_api_ax650", "AX650 itself is the host"),
        ("axllm", "another HTTP API"),
    ],
)
def test_the_vendors_other_programs_are_recognised_by_name(
    pi: Machine, tmp_path: Path, name: str, what: str
) -> None:
    finding = look(pi, program(tmp_path, elf(), name))
    assert finding.verdict == "fail"
    assert name in finding.seen
    assert what in finding.seen
    assert "main_api_axcl_aarch64" in finding.remedy


def test_on_a_pc_the_remedy_names_the_pcs_program(pi: Machine, tmp_path: Path) -> None:
    finding = look(pi, program(tmp_path, elf()), machine="x86_64")
    assert finding.remedy.endswith("main_api_axcl_x86")


def test_a_lost_execute_bit_is_restored_with_chmod(pi: Machine, tmp_path: Path) -> None:
    file = program(tmp_path, elf(), "main api")
    file.chmod(0o644)
    finding = look(pi, file)
    assert (finding.verdict, finding.remedy) == ("fail", f"chmod +x '{file}'")


def test_a_missing_program_is_named_with_its_full_path(pi: Machine, tmp_path: Path) -> None:
    finding = look(pi, tmp_path / "not-there")
    assert finding.seen == f"the vendor's program {tmp_path}/not-there does not exist"
    assert finding.remedy == "set AX650_RUNTIME_BIN to the path of main_api_axcl_aarch64"


def test_a_folder_is_not_a_program(pi: Machine, tmp_path: Path) -> None:
    assert "is a folder" in look(pi, tmp_path).seen


def look_for_axllm(pi: Machine, model: Path, **environ: str) -> Finding:
    context = pi.context_of_files(AX650_MODEL_PATH=str(model), **environ)
    return check_binary(type(context)(context.settings, context.root, "aarch64"))


def test_a_model_published_for_axllm_needs_no_other_program(pi: Machine, tmp_path: Path) -> None:
    model = axllm_model(tmp_path / "Qwen3-0.6B")
    missing = str(tmp_path / "main_api_axcl_aarch64")
    finding = look_for_axllm(pi, model, AX650_RUNTIME_BIN=missing)

    assert finding.remedy.startswith("this model is for axllm: unset AX650_RUNTIME_BIN, or ")


def test_axllm_is_looked_up_on_the_path(
    pi: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = axllm_model(tmp_path / "Qwen3-0.6B")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    missing = look_for_axllm(pi, model)
    assert (missing.verdict, missing.seen) == ("fail", "there is no axllm on the PATH")
    assert "AX650_AXLLM_BIN" in missing.remedy

    (tmp_path / "bin").mkdir()
    found = program(tmp_path / "bin", elf(), "axllm")
    assert look_for_axllm(pi, model).verdict == "ok"

    old = found.rename(tmp_path / "main_api_axcl_aarch64")
    wrong = look_for_axllm(pi, model, AX650_AXLLM_BIN=str(old))
    assert "the vendor's older program" in wrong.seen


def in_the_hubs_cache(folder: Path, name: str) -> Path:
    """Make a program as the hub's own downloader stores it."""
    (folder / "blobs").mkdir()
    (folder / "snapshots" / "0123").mkdir(parents=True)
    (folder / "blobs" / "4567").write_bytes(elf())
    (folder / "blobs" / "4567").chmod(0o755)
    link = folder / "snapshots" / "0123" / name
    link.symlink_to("../../blobs/4567")
    return link


@pytest.mark.parametrize("name", ["main_axcl_aarch64", "main_ax650", "axllm"])
def test_a_program_in_the_hubs_cache_is_judged_by_its_links_name(
    pi: Machine, tmp_path: Path, name: str
) -> None:
    link = in_the_hubs_cache(tmp_path, name)
    finding = check_binary(pi.context_of_files(AX650_RUNTIME_BIN=str(link)))
    assert finding.verdict == "fail"
    assert finding.seen.startswith(f"{name} is ")
    (tmp_path / "mine").symlink_to(link)
    second = check_binary(pi.context_of_files(AX650_RUNTIME_BIN=str(tmp_path / "mine")))
    assert second.seen == finding.seen


def test_a_link_of_another_name_to_the_right_program_passes(pi: Machine, tmp_path: Path) -> None:
    link = in_the_hubs_cache(tmp_path, "main_api_axcl_aarch64")
    (tmp_path / "axllm").symlink_to(link)
    for path in (link, tmp_path / "axllm"):
        assert check_binary(pi.context_of_files(AX650_RUNTIME_BIN=str(path))).verdict == "ok"
