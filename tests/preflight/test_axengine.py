"""What PyAXEngine needs is looked for without importing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from axproxy.preflight.axengine import check_axengine_library, check_axengine_package
from axproxy.preflight.finding import Finding
from tests.preflight.machine import Machine, elf
from tests.support.axengine_models import FAKE

X86 = 62


def library(pi: Machine, path: str, content: bytes) -> None:
    pi.write(path, "").write_bytes(content)


def look(pi: Machine, **environ: str) -> Finding:
    return check_axengine_library(pi.context(AX650_RUNTIME="axengine", **environ))


def test_a_package_of_ones_own_comes_before_the_installed_one(pi: Machine, tmp_path: Path) -> None:
    for folder, verdict in ((FAKE, "ok"), (tmp_path, "fail")):
        environ = {"AX650_RUNTIME": "axengine", "AX650_AXENGINE_PATH": str(folder)}
        finding = check_axengine_package(pi.context(**environ))
        assert (finding.name, finding.verdict) == ("binary", verdict)
    assert f"no axengine in {tmp_path}" in finding.seen
    missing = check_axengine_package(pi.context(AX650_RUNTIME="axengine"))
    assert missing.seen == "PyAXEngine is not installed"
    assert "--with-axengine WHEEL" in missing.remedy


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("libaxcl_rt.so", "AXCLRTExecutionProvider"),
        ("libax_engine.so.1", "AxEngineExecutionProvider"),
    ],
)
def test_the_library_that_is_there_decides_the_provider(
    pi: Machine, name: str, provider: str
) -> None:
    library(pi, f"/usr/lib/aarch64-linux-gnu/{name}", elf())

    assert look(pi).verdict == "ok"
    assert look(pi).seen.endswith(provider)


def test_a_folder_that_the_loader_does_not_know_is_named_with_what_to_do(pi: Machine) -> None:
    library(pi, "/usr/lib/axcl/libaxcl_rt.so", elf())
    finding = look(pi)

    assert finding.verdict == "warn"
    assert finding.remedy == (
        "echo /usr/lib/axcl | sudo tee /etc/ld.so.conf.d/axcl.conf && sudo ldconfig"
    )
    pi.write("/etc/ld.so.conf.d/axcl.conf", "/usr/lib/axcl\n")
    assert look(pi).verdict == "ok"


def test_a_missing_library_one_for_another_machine_and_no_library_fail(pi: Machine) -> None:
    assert look(pi).seen == "there is no libaxcl_rt.so nor libax_engine.so for PyAXEngine"
    assert look(pi, AX650_AXENGINE_PATH=str(FAKE)).verdict == "warn"  # a stand-in needs none
    assert look(pi, AX650_AXENGINE_PROVIDER="board").seen.startswith("there is no libax_engine.so")
    library(pi, "/usr/lib/libaxcl_rt.so", elf(machine=X86))
    assert "is built for x86_64, but this machine is aarch64" in look(pi).seen
    library(pi, "/usr/lib/libaxcl_rt.so", b"version https://git-lfs")
    assert look(pi).seen == "/usr/lib/libaxcl_rt.so is no library"
