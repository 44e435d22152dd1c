"""Checks the kernel driver: loaded, built for this kernel, its device nodes open to this user."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from axproxy.preflight.context import CheckContext, entries, read
from axproxy.preflight.finding import Finding

MODULE = "axcl_host"
_NEEDED = "/dev/axcl_host"
_USEFUL = ("/dev/ax_mmb_dev", "/dev/msg_userdev")
_PACKAGE = "Package: axclhost\n"
_SOURCE = re.compile(r"m5stack|axera|axcl", re.IGNORECASE)
_MAX_LIST = 4 << 20  # bytes; the lists of a whole distribution are bigger and do not have it
_FROM_A_FILE = "reinstall the driver package you installed from"
_LOG = "/var/log/axclhost-install.log"


def check_driver(context: CheckContext) -> Finding:
    """Check that the driver is loaded; after a kernel upgrade it exists for the old kernel only."""
    running = context.text("/proc/sys/kernel/osrelease").strip()
    if is_loaded(context):
        return Finding("driver", "ok", f"the module {MODULE} is loaded (kernel {running})")
    return Finding("driver", "fail", _why_not_loaded(context, running), _driver_remedy(context))


def check_device_node(context: CheckContext) -> Finding:
    """Check that this user can open the device nodes; the driver's udev rules allow all users."""
    missing = [node for node in (_NEEDED, *_USEFUL) if not context.at(node).exists()]
    if _NEEDED in missing:
        return Finding("device-node", "fail", f"{_NEEDED} does not exist", _node_remedy(context))
    closed = [
        node
        for node in (_NEEDED, *_USEFUL)
        if node not in missing and not context.can_access(context.at(node), os.R_OK | os.W_OK)
    ]
    if closed:
        return Finding(
            "device-node",
            "fail",
            f"this user cannot read and write {' and '.join(closed)}",
            f"sudo chmod 0666 {' '.join(closed)}",
        )
    if missing and _in_container(context):
        return Finding(
            "device-node",
            "warn",
            f"this container has {_NEEDED}, but not {' nor '.join(missing)}",
            f"give it the devices that are missing: docker run {_devices(missing)} …",
        )
    if missing:  # some versions of the driver may not have them all
        return Finding(
            "device-node",
            "warn",
            f"{_NEEDED} exists, but not {' nor '.join(missing)}",
            "sudo modprobe ax_pcie_mmb && sudo modprobe ax_pcie_msg",
        )
    return Finding("device-node", "ok", f"this user can open {_NEEDED} and the other device nodes")


def is_loaded(context: CheckContext) -> bool:
    if context.at(f"/sys/module/{MODULE}").is_dir():
        return True
    return any(
        line.split(" ", 1)[0] == MODULE for line in context.text("/proc/modules").splitlines()
    )


def _why_not_loaded(context: CheckContext, running: str) -> str:
    built = kernels_with_driver(context)
    if running in built or not _modules_visible(context):
        return f"the card's driver {MODULE} is not loaded"
    if built:
        return f"the card's driver is built for kernel {', '.join(built)}, but {running} is running"
    return f"the card's driver is not installed: no {MODULE} for kernel {running}"


def kernels_with_driver(context: CheckContext) -> list[str]:
    """Return the installed kernels that have the driver."""
    return [each.name for each in entries(context.at("/lib/modules")) if _has_module(each)]


def _modules_visible(context: CheckContext) -> bool:
    """Whether modules are visible; in containers and hardened units they are not."""
    return bool(entries(context.at("/lib/modules")))


def _has_module(kernel: Path) -> bool:
    # The vendor's package installs into `extra`, DKMS into `updates`, compressed or not.
    return any(
        True for place in ("extra", "updates") for _ in (kernel / place).rglob(f"{MODULE}.ko*")
    )


def _driver_remedy(context: CheckContext) -> str:
    running = context.text("/proc/sys/kernel/osrelease").strip()
    built = kernels_with_driver(context)
    if running in built or not _modules_visible(context):
        return f"sudo modprobe {MODULE}"
    if context.at("/var/lib/dkms/axcl").is_dir():
        return f"sudo dkms autoinstall -k {running} && sudo modprobe {MODULE}"
    if not _has_package_source(context):
        return f"{_FROM_A_FILE}  # its log: {_LOG}"
    headers = "sudo apt install linux-headers-$(uname -r) && " if not _headers(context) else ""
    again = "--reinstall " if built or context.at("/usr/src/axcl").is_dir() else ""
    return f"{headers}sudo apt install {again}axclhost  # its log: {_LOG}"


def _headers(context: CheckContext) -> bool:
    running = context.text("/proc/sys/kernel/osrelease").strip()
    return context.at(f"/lib/modules/{running}/build").exists()


def _node_remedy(context: CheckContext) -> str:
    if not is_loaded(context):
        return _driver_remedy(context)
    if _in_container(context):
        nodes = _devices((_NEEDED, *_USEFUL))
        return f"give the container the devices: docker run {nodes} …"
    return f"sudo modprobe -r {MODULE} && sudo modprobe {MODULE}"


def reinstall(context: CheckContext, then: str = "") -> str:
    """Return how this machine gets the driver's package, with its libraries and firmware, again.

    `then` is a command that must follow.
    """
    if _has_package_source(context):
        return "sudo apt install --reinstall axclhost" + (f" && {then}" if then else "")
    return _FROM_A_FILE + (f", then: {then}" if then else "")


def _in_container(context: CheckContext) -> bool:
    return any(context.at(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))


def _devices(nodes: Iterable[str]) -> str:
    return " ".join(f"--device {node}" for node in nodes)


def _has_package_source(context: CheckContext) -> bool:
    """Whether apt can fetch the driver; M5Stack has it for the Pi, other boards get a file."""
    if context.board.startswith("Raspberry Pi"):
        return True
    lists = entries(context.at("/var/lib/apt/lists"))
    return any(
        _SOURCE.search(each.name)
        or ("_Packages" in each.name and _PACKAGE in read(each)[:_MAX_LIST])
        for each in lists
        if each.is_file() and each.stat().st_size <= _MAX_LIST
    )
