"""The card's kernel driver: loaded, built for this kernel, and its device nodes there for us."""

from __future__ import annotations

import os
from pathlib import Path

from axproxy.preflight.finding import Finding
from axproxy.preflight.scene import CheckContext, entries

MODULE = "axcl_host"
_NEEDED = "/dev/axcl_host"
_USEFUL = ("/dev/ax_mmb_dev", "/dev/msg_userdev")
_LOG = "/var/log/axclhost-install.log"


def check_driver(scene: CheckContext) -> Finding:
    """A kernel upgrade leaves the driver behind with the old kernel."""
    running = scene.text("/proc/sys/kernel/osrelease").strip()
    if _loaded(scene):
        return Finding("driver", "ok", f"the module {MODULE} is loaded into kernel {running}")
    return Finding("driver", "fail", _why_not_loaded(scene, running), _driver_remedy(scene))


def check_device_node(scene: CheckContext) -> Finding:
    """Root is not needed: the driver's udev rules give everybody access."""
    missing = [node for node in (_NEEDED, *_USEFUL) if not scene.at(node).exists()]
    if _NEEDED in missing:
        return Finding("device-node", "fail", f"{_NEEDED} is not there", _node_remedy(scene))
    closed = [
        node
        for node in (_NEEDED, *_USEFUL)
        if node not in missing and not scene.may(scene.at(node), os.R_OK | os.W_OK)
    ]
    if closed:
        return Finding(
            "device-node",
            "fail",
            f"this user may not read and write {' and '.join(closed)}",
            f"sudo chmod 0666 {' '.join(closed)}",
        )
    if missing:  # not every version of the driver may have them all
        return Finding(
            "device-node",
            "warn",
            f"{_NEEDED} is there, but not {' nor '.join(missing)}",
            "sudo modprobe ax_pcie_mmb && sudo modprobe ax_pcie_msg",
        )
    return Finding("device-node", "ok", f"{_NEEDED} and its companions are there for this user")


def _loaded(scene: CheckContext) -> bool:
    if scene.at(f"/sys/module/{MODULE}").is_dir():
        return True
    return any(line.split(" ", 1)[0] == MODULE for line in scene.text("/proc/modules").splitlines())


def _why_not_loaded(scene: CheckContext, running: str) -> str:
    built = kernels_with_driver(scene)
    if running in built or not _modules_in_sight(scene):
        return f"the card's driver {MODULE} is not loaded"
    if built:
        return f"the card's driver is built for kernel {', '.join(built)}, but {running} is running"
    return f"the card's driver is not installed: no {MODULE} for kernel {running}"


def kernels_with_driver(scene: CheckContext) -> list[str]:
    """The installed kernels that the driver was built for."""
    return [each.name for each in entries(scene.at("/lib/modules")) if _has_module(each)]


def _modules_in_sight(scene: CheckContext) -> bool:
    """Containers and hardened units do not see the kernel's modules."""
    return bool(entries(scene.at("/lib/modules")))


def _has_module(kernel: Path) -> bool:
    # In `extra` from the vendor's package, in `updates` from DKMS, compressed or not.
    return any(
        True for place in ("extra", "updates") for _ in (kernel / place).rglob(f"{MODULE}.ko*")
    )


def _driver_remedy(scene: CheckContext) -> str:
    running = scene.text("/proc/sys/kernel/osrelease").strip()
    built = kernels_with_driver(scene)
    if running in built or not _modules_in_sight(scene):
        return f"sudo modprobe {MODULE}"
    if scene.at("/var/lib/dkms/axcl").is_dir():
        return f"sudo dkms autoinstall -k {running} && sudo modprobe {MODULE}"
    headers = "sudo apt install linux-headers-$(uname -r) && " if not _headers(scene) else ""
    again = "--reinstall " if built or scene.at("/usr/src/axcl").is_dir() else ""
    return f"{headers}sudo apt install {again}axclhost  # it tells how it went in {_LOG}"


def _headers(scene: CheckContext) -> bool:
    running = scene.text("/proc/sys/kernel/osrelease").strip()
    return scene.at(f"/lib/modules/{running}/build").exists()


def _node_remedy(scene: CheckContext) -> str:
    if not _loaded(scene):
        return _driver_remedy(scene)
    if scene.at("/.dockerenv").exists():
        nodes = " ".join(f"--device {node}" for node in (_NEEDED, *_USEFUL))
        return f"give the container the devices: docker run {nodes} …"
    return f"sudo modprobe -r {MODULE} && sudo modprobe {MODULE}"
