"""Shared libraries are searched for as the loader does it, without running anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from axproxy.preflight.finding import Finding
from axproxy.preflight.libraries import NotElf, check_libraries, read_linking
from tests.preflight.machine import Machine, elf

LOADER = "/lib/ld-linux-aarch64.so.1"


@pytest.fixture
def binary(pi: Machine, tmp_path: Path) -> Path:
    pi.write(LOADER, "")
    file = tmp_path / "main_api_axcl_aarch64"
    file.write_bytes(elf("libaxcl_rt.so", "libc.so.6", interpreter=LOADER))
    return file


def library(pi: Machine, path: str, content: bytes) -> None:
    pi.write(path, "").write_bytes(content)


def look(pi: Machine, binary: Path) -> Finding:
    return check_libraries(pi.context(AX650_RUNTIME_BIN=str(binary)))


@pytest.mark.parametrize("place", ["/usr/lib/axcl", "/opt/axcl/lib", "/usr/lib/aarch64-linux-gnu"])
def test_a_library_is_found_where_the_loader_searches(
    pi: Machine, binary: Path, place: str
) -> None:
    pi.write("/etc/ld.so.conf.d/axcl.conf", "# the card's\n/opt/axcl/lib\n")
    library(pi, f"{place}/libaxcl_rt.so", elf("libspdlog.so"))
    library(pi, f"{place}/libspdlog.so", elf("libc.so.6"))
    library(pi, "/lib/aarch64-linux-gnu/libc.so.6", elf())
    assert look(pi, binary) == Finding("libraries", "ok", "all 3 shared libraries were found")


def test_a_library_is_found_beside_the_program_if_its_runpath_says_so(
    pi: Machine, binary: Path
) -> None:
    library(pi, "/usr/lib/libc.so.6", elf())
    binary.write_bytes(elf("libaxcl_rt.so", "libc.so.6", runpath="$ORIGIN/lib"))
    (binary.parent / "lib").mkdir()
    (binary.parent / "lib" / "libaxcl_rt.so").write_bytes(elf())
    assert look(pi, binary).verdict == "ok"


def test_a_missing_library_of_the_card_comes_with_its_package(pi: Machine, binary: Path) -> None:
    library(pi, "/usr/lib/libc.so.6", elf())
    finding = look(pi, binary)
    assert finding.verdict == "fail"
    assert finding.seen == "main_api_axcl_aarch64 needs libaxcl_rt.so, which cannot be found"
    assert finding.remedy == "sudo apt install --reinstall axclhost && sudo ldconfig"


def test_what_a_library_needs_is_needed_too(pi: Machine, binary: Path) -> None:
    library(pi, "/usr/lib/libc.so.6", elf())
    library(pi, "/usr/lib/axcl/libaxcl_rt.so", elf("libgomp.so.1"))
    assert look(pi, binary).remedy == "sudo apt install libgomp1"


def test_a_library_of_another_machine_does_not_count(pi: Machine, binary: Path) -> None:
    library(pi, "/usr/lib/libc.so.6", elf())
    library(pi, "/usr/lib/axcl/libaxcl_rt.so", elf(machine=62))
    assert look(pi, binary).verdict == "fail"


def test_a_link_that_git_checked_out_as_text_is_to_be_made_a_link(
    pi: Machine, binary: Path
) -> None:
    library(pi, "/usr/lib/axcl/libaxcl_rt.so", b"libaxcl_rt.so.3.10.2")
    finding = look(pi, binary)
    file = pi.root / "usr/lib/axcl/libaxcl_rt.so"
    assert finding.seen == f"{file} is not a library (20 bytes)"
    assert finding.remedy == f"ln -sf libaxcl_rt.so.3.10.2 {file}"


def test_a_32_bit_system_cannot_run_it(pi: Machine, binary: Path) -> None:
    pi.remove(LOADER)
    finding = look(pi, binary)
    assert LOADER in finding.seen
    assert "64-bit" in finding.remedy


def test_a_program_for_a_newer_system_is_found_before_the_start(pi: Machine, binary: Path) -> None:
    asked = {"libc.so.6": "GLIBC_2.34"}
    binary.write_bytes(elf("libc.so.6", interpreter=LOADER, asked=asked))
    library(pi, "/usr/lib/libc.so.6", elf(defined=["GLIBC_2.17", "GLIBC_2.31"]))
    finding = look(pi, binary)
    assert finding.verdict == "fail"
    assert finding.seen == (
        "main_api_axcl_aarch64 needs GLIBC_2.34 of libc.so.6, and the one of this system is older"
    )
    assert finding.remedy.startswith("install Debian 12, Ubuntu 22.04 or newer")
    library(pi, "/usr/lib/libc.so.6", elf(defined=["GLIBC_2.17", "GLIBC_2.34"]))
    assert look(pi, binary).verdict == "ok"


def test_a_library_of_the_card_that_needs_a_newer_system_is_named(
    pi: Machine, binary: Path
) -> None:
    library(pi, "/usr/lib/libc.so.6", elf(defined=["GLIBC_2.31"]))
    library(pi, "/usr/lib/axcl/libaxcl_rt.so", elf("libc.so.6", asked={"libc.so.6": "GLIBC_2.38"}))
    assert look(pi, binary).seen.startswith("libaxcl_rt.so needs GLIBC_2.38 of libc.so.6")


def test_a_file_that_is_not_a_program_is_left_to_the_other_check(pi: Machine, binary: Path) -> None:
    binary.write_text("#!/bin/sh\n")
    assert look(pi, binary).verdict == "skip"


def test_a_real_program_is_read_as_the_loader_reads_it() -> None:
    linking = read_linking(Path(sys.executable).resolve())
    assert linking.interpreter
    assert Path(linking.interpreter).exists()
    assert any(name.startswith("libc.so") for name in linking.needed)
    assert any(version.startswith("GLIBC_2.") for _, version in linking.asked)


@pytest.mark.parametrize("keep", range(0, 400, 7))
def test_a_truncated_file_is_damaged(tmp_path: Path, keep: int) -> None:
    whole = elf("libaxcl_rt.so", interpreter=LOADER)
    file = tmp_path / "program"
    file.write_bytes(whole[: min(keep, len(whole) - 1)])
    with pytest.raises(NotElf):
        read_linking(file)
