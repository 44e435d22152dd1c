"""The card's driver and its device nodes."""

from __future__ import annotations

import shutil

import pytest

from axproxy.preflight.driver import check_device_node, check_driver, reinstall
from tests.preflight.machine import KERNEL, NODES, Machine

OLD = "6.6.51+rpt-rpi-2712"


@pytest.fixture
def bare(pi: Machine) -> Machine:
    """The driver is neither loaded nor installed."""
    pi.write("/proc/modules", "vc4 1 0 - Live 0x0\n")
    pi.remove(f"/lib/modules/{KERNEL}/extra/axcl_host.ko")
    for node in NODES:
        pi.remove(node)
    return pi


def test_a_loaded_driver_passes(pi: Machine) -> None:
    assert check_driver(pi.context()).verdict == "ok"
    pi.write("/proc/modules", "")
    (pi.root / "sys/module/axcl_host").mkdir(parents=True)
    assert check_driver(pi.context()).verdict == "ok"


def test_an_installed_driver_is_to_be_loaded(bare: Machine) -> None:
    bare.write(f"/lib/modules/{KERNEL}/updates/dkms/axcl_host.ko.xz", "")
    finding = check_driver(bare.context())
    assert finding.verdict == "fail"
    assert finding.remedy == "sudo modprobe axcl_host"


def test_after_a_kernel_upgrade_the_driver_is_to_be_built_again(bare: Machine) -> None:
    bare.write(f"/lib/modules/{OLD}/extra/axcl_host.ko", "")
    finding = check_driver(bare.context())
    assert finding.seen == (f"the card's driver is built for kernel {OLD}, but {KERNEL} is running")
    assert finding.remedy.startswith("sudo apt install --reinstall axclhost")
    (bare.root / "var/lib/dkms/axcl").mkdir(parents=True)
    assert check_driver(bare.context()).remedy == (
        f"sudo dkms autoinstall -k {KERNEL} && sudo modprobe axcl_host"
    )


def test_a_missing_driver_is_to_be_installed(bare: Machine) -> None:
    bare.remove(f"/lib/modules/{KERNEL}/build")
    finding = check_driver(bare.context())
    assert "not installed" in finding.seen
    assert finding.remedy.startswith(
        "sudo apt install linux-headers-$(uname -r) && sudo apt install axclhost"
    )


def test_open_device_nodes_pass(pi: Machine) -> None:
    assert check_device_node(pi.context()).verdict == "ok"


def test_a_missing_device_node_comes_back_with_its_driver(bare: Machine) -> None:
    bare.write(f"/lib/modules/{KERNEL}/extra/axcl_host.ko", "")
    finding = check_device_node(bare.context())
    assert (finding.verdict, finding.seen) == ("fail", "/dev/axcl_host does not exist")
    assert finding.remedy == "sudo modprobe axcl_host"


def test_a_loaded_driver_without_its_node_is_to_be_reloaded(pi: Machine) -> None:
    pi.remove("/dev/axcl_host")
    assert check_device_node(pi.context()).remedy == (
        "sudo modprobe -r axcl_host && sudo modprobe axcl_host"
    )


def test_a_container_needs_the_devices_passed_in(pi: Machine) -> None:
    pi.remove("/dev/axcl_host")
    pi.write("/.dockerenv", "")
    assert "--device /dev/axcl_host --device" in check_device_node(pi.context()).remedy


def test_a_node_that_this_user_cannot_open_is_to_be_opened_for_all(pi: Machine) -> None:
    pi.closed = {"/dev/msg_userdev"}
    finding = check_device_node(pi.context())
    assert finding.verdict == "fail"
    assert finding.remedy == "sudo chmod 0666 /dev/msg_userdev"


def test_a_driver_without_the_lesser_nodes_gives_a_warning(pi: Machine) -> None:
    pi.remove("/dev/msg_userdev")
    assert check_device_node(pi.context()).verdict == "warn"


def test_with_hidden_modules_nothing_is_claimed_about_their_installation(bare: Machine) -> None:
    shutil.rmtree(bare.root / "lib/modules")
    finding = check_driver(bare.context())
    assert finding.seen == "the card's driver axcl_host is not loaded"
    assert finding.remedy == "sudo modprobe axcl_host"


@pytest.mark.parametrize("mark", ["/.dockerenv", "/run/.containerenv"])
def test_a_container_with_one_of_three_devices_needs_the_other_two(pi: Machine, mark: str) -> None:
    pi.write(mark, "")
    for node in NODES[1:]:
        pi.remove(node)
    finding = check_device_node(pi.context())
    assert finding.verdict == "warn"
    assert "--device /dev/ax_mmb_dev --device /dev/msg_userdev" in finding.remedy
    assert "axcl_host" not in finding.remedy


def test_a_board_without_a_package_source_gets_its_driver_as_it_did(pi: Machine) -> None:
    pi.write("/proc/device-tree/model", "Radxa ROCK 5B\0")
    pi.write("/proc/modules", "")
    pi.remove(f"/lib/modules/{KERNEL}/extra/axcl_host.ko")
    remedy = check_driver(pi.context()).remedy
    assert remedy.startswith("reinstall the driver package you installed from")
    again = "reinstall the driver package you installed from, then: sudo ldconfig"
    assert reinstall(pi.context(), "sudo ldconfig") == again
    pi.write("/var/lib/apt/lists/some.where_Packages", "Package: axclhost\nVersion: 3.6.4\n")
    assert "apt install axclhost" in check_driver(pi.context()).remedy
