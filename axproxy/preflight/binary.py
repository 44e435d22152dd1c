"""Checks that the vendor's program exists, is that program, and can run on this machine."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from axproxy.models.access import why_closed
from axproxy.models.axllm_folder import is_for_axllm
from axproxy.models.model import RuntimeName
from axproxy.preflight.context import CheckContext
from axproxy.preflight.file_kind import Elf, UnknownFile, WrongFile, kind_of
from axproxy.preflight.finding import Finding

# Programs of the vendor with similar names, by the beginning of the name.
_LOOK_ALIKES = {
    "main_axcl": "the interactive program, which has no HTTP API",
    "main_api_ax650": "for boards where the AX650 itself is the host, not for a card",
    "main_ax650": "for boards where the AX650 itself is the host, and has no HTTP API",
}
_PROGRAMS: dict[RuntimeName, str] = {"main_api": "main_api_axcl", "axllm": "axllm"}
_OTHERS: dict[RuntimeName, dict[str, str]] = {
    "main_api": {"axllm": "the vendor's newer program, which has another HTTP API"},
    "axllm": {"main_api_axcl": "the vendor's older program, which cannot load this model"},
}
_GET_AXLLM = "build axllm as the page of AXERA-TECH/ax-llm says, or set AX650_AXLLM_BIN to its path"
_RIGHT = {"aarch64": "main_api_axcl_aarch64", "x86_64": "main_api_axcl_x86"}


def check_binary(context: CheckContext) -> Finding:
    """Check the file's name, mode and first bytes, without running it."""
    settings = context.settings
    if settings.model_path is None and settings.names_store and not settings.names_runtime_bin:
        return Finding("binary", "skip", "the model says which program is needed; see model-folder")
    return _check_file(context)


def _check_file(context: CheckContext) -> Finding:
    path, elsewhere = context.program.resolve(), _elsewhere(context)
    if context.program == Path("axllm") and shutil.which(context.program) is None:
        return Finding("binary", "fail", "there is no axllm on the PATH", _GET_AXLLM)

    def fail(seen: str, remedy: str) -> Finding:
        return Finding("binary", "fail", seen, remedy)

    try:
        kind = kind_of(path)
    except FileNotFoundError:
        return fail(f"the vendor's program {path} does not exist", elsewhere)
    except IsADirectoryError:
        return fail(f"{path} is a folder, not the vendor's program", elsewhere)
    except OSError as error:
        if closed := why_closed(path):
            return fail(*closed.rsplit("; ", 1))
        return fail(f"cannot read {path} ({error.strerror})", f"sudo chmod a+rx {_quote(path)}")
    if wrong := _wrong(context, path, kind, elsewhere):
        return fail(*wrong)
    if not context.can_access(path, os.X_OK):
        # Downloads and archives lose the execute bit.
        return fail(f"{path} is not executable", f"chmod +x {_quote(path)}")
    return Finding("binary", "ok", f"{path} is a program for {context.machine}")


def _elsewhere(context: CheckContext) -> str:
    """Return the remedy that names the right program."""
    if context.runtime == "axllm":
        return "set AX650_AXLLM_BIN to the path of axllm"
    right = _RIGHT.get(context.machine, "main_api_axcl")
    elsewhere = f"set AX650_RUNTIME_BIN to the path of {right}"
    model = context.settings.model_path
    if model and is_for_axllm(model):
        return f"this model is for axllm: unset AX650_RUNTIME_BIN, or {elsewhere}"
    return elsewhere


def _wrong(
    context: CheckContext, path: Path, kind: Elf | WrongFile | UnknownFile, elsewhere: str
) -> tuple[str, str] | None:
    """Return what the file is instead of the program, and the remedy; `None` if it is right."""
    if isinstance(kind, WrongFile):
        return f"{path} is {kind.what}", kind.remedy
    if look_alike := _look_alike(context):
        return look_alike, elsewhere
    if isinstance(kind, UnknownFile):
        if not kind.script:
            return f"{path} is not a program", elsewhere
        wrapper = "if it wraps the program, set AX650_PREFLIGHT_SKIP=binary"
        return f"{path} is a script, not the vendor's program", f"{elsewhere}; {wrapper}"
    if kind.machine != context.machine:
        return (
            f"{path} is built for {kind.machine}, but this machine is {context.machine}",
            elsewhere,
        )
    return None


def _look_alike(context: CheckContext) -> str | None:
    """Return which other program of the vendor's the file is, by its name."""
    right = _PROGRAMS[context.runtime]
    for known in reversed(_names(context.program)):
        if known.startswith(right):
            break
        for name, what in {**_LOOK_ALIKES, **_OTHERS[context.runtime]}.items():
            if known.startswith(name):
                return f"{known} is {what}"
    return None


def _names(path: Path) -> list[str]:
    """Return the names of a file: its own last, those of the links that lead to it before.

    In the hub's cache a program is a link to a file that is named by its checksum.
    """
    names = [path.name]
    while path.is_symlink() and len(names) < 20:
        path = path.parent / path.readlink()
        names.append(path.name)
    return names


def _quote(path: Path) -> str:
    return shlex.quote(str(path))
