"""Checks for PyAXEngine: the package, and the library of the provider that computes.

Nothing is imported: that would call the driver.  PyAXEngine finds its library by
`ctypes.util.find_library`, so only in the folders that the loader's cache knows (read in
AXERA-TECH/pyaxengine, `_providers.py`).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.machinery import PathFinder
from pathlib import Path

from axproxy.card.environment import LIBRARIES
from axproxy.preflight.context import CheckContext
from axproxy.preflight.driver import reinstall
from axproxy.preflight.finding import Finding
from axproxy.preflight.libraries import NotElf, read_linking, system_folders

_PACKAGES = ("axengine", "numpy", "ml_dtypes")  # what the worker imports
_GET_IT = (
    "download PyAXEngine's wheel from the releases of AXERA-TECH/pyaxengine and run: sudo "
    "./install.sh --with-axengine WHEEL; or set AX650_AXENGINE_PATH"
)
_PROVIDERS = {
    "card": ("libaxcl_rt.so", "AXCLRTExecutionProvider"),
    "board": ("libax_engine.so", "AxEngineExecutionProvider"),
}
_MACHINES = {62: "x86_64", 183: "aarch64"}  # by their number in an ELF header


def check_axengine_package(context: CheckContext) -> Finding:
    """Check that PyAXEngine is there, and what it needs."""
    own = context.settings.axengine_path
    places = [str(own), *sys.path] if own else sys.path
    missing = [name for name in _PACKAGES if PathFinder.find_spec(name, places) is None]
    if not missing:
        return Finding("binary", "ok", "PyAXEngine is installed")
    if "axengine" in missing:
        wrong = f"there is no axengine in {own}" if own else "PyAXEngine is not installed"
        return Finding("binary", "fail", wrong, _GET_IT)
    return Finding("binary", "fail", f"PyAXEngine needs {' and '.join(missing)}", _GET_IT)


def check_axengine_library(context: CheckContext) -> Finding:
    """Check that the loader's cache can know the library of the provider, and say which that is."""
    found = _library_finding(context)
    own = context.settings.axengine_path
    # A stand-in for PyAXEngine needs none.
    return replace(found, verdict="warn") if own and found.verdict == "fail" else found


def _library_finding(context: CheckContext) -> Finding:
    chosen = context.settings.axengine_provider
    wanted = [_PROVIDERS[kind] for kind in _PROVIDERS if chosen in ("auto", kind)]
    for name, provider in wanted:
        if found := _library(context, system_folders(context), name):
            return _judged(context, found, provider)
    for name, _ in wanted:
        if found := _library(context, [LIBRARIES], name):
            place = found.parent
            return Finding(  # no failure: where binutils is installed, it looks further
                "libraries",
                "warn",
                f"PyAXEngine may not find {found}: the loader does not know its folder",
                f"echo {place} | sudo tee /etc/ld.so.conf.d/axcl.conf && sudo ldconfig",
            )
    names = " nor ".join(name for name, _ in wanted)
    return Finding("libraries", "fail", f"there is no {names} for PyAXEngine", reinstall(context))


def _library(context: CheckContext, places: list[str], name: str) -> Path | None:
    for place in places:
        if found := sorted(context.at(place).glob(f"{name}*")):
            return Path(place, found[0].name)
    return None


def _judged(context: CheckContext, library: Path, provider: str) -> Finding:
    try:
        machine = _MACHINES.get(read_linking(context.at(str(library))).machine, "another machine")
    except (NotElf, OSError):
        return Finding("libraries", "fail", f"{library} is no library", reinstall(context))
    if machine != context.machine:
        return Finding(
            "libraries",
            "fail",
            f"{library} is built for {machine}, but this machine is {context.machine}",
            reinstall(context),
        )
    return Finding("libraries", "ok", f"{library} is there: PyAXEngine computes with {provider}")
