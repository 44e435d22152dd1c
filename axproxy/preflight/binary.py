"""Checks that the vendor's program exists, is that program, and can run on this machine."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from axproxy.models.access import why_closed
from axproxy.preflight.context import CheckContext
from axproxy.preflight.file_kind import Elf, UnknownFile, WrongFile, kind_of
from axproxy.preflight.finding import Finding

# Programs of the vendor with similar names, by the beginning of the name.
_LOOK_ALIKES = {
    "main_axcl": "the interactive program, which has no HTTP API",
    "main_api_ax650": "for boards where the AX650 itself is the host, not for a card",
    "main_ax650": "for boards where the AX650 itself is the host, and has no HTTP API",
    "axllm": "the vendor's newer program, which has another HTTP API",
}
_PROGRAM = "main_api_axcl"
_RIGHT = {"aarch64": "main_api_axcl_aarch64", "x86_64": "main_api_axcl_x86"}


def check_binary(context: CheckContext) -> Finding:
    """Check the file's name, mode and first bytes, without running it."""
    path = context.settings.runtime_bin.resolve()
    right = _RIGHT.get(context.machine, "main_api_axcl")
    elsewhere = f"set AX650_RUNTIME_BIN to the path of {right}"

    def fail(seen: str, remedy: str) -> Finding:
        return Finding("binary", "fail", seen, remedy)

    try:
        kind = kind_of(path)
    except FileNotFoundError:
        return fail(
            f"the vendor's program {path} does not exist", _where_to_find(context, elsewhere)
        )
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


def _wrong(
    context: CheckContext, path: Path, kind: Elf | WrongFile | UnknownFile, elsewhere: str
) -> tuple[str, str] | None:
    """Return what the file is instead of the program, and the remedy; `None` if it is right."""
    if isinstance(kind, WrongFile):
        return f"{path} is {kind.what}", kind.remedy
    for known in reversed(_names(context.settings.runtime_bin)):
        if known.startswith(_PROGRAM):
            break
        for name, what in _LOOK_ALIKES.items():
            if known.startswith(name):
                return f"{known} is {what}", elsewhere
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


def _names(path: Path) -> list[str]:
    """Return the names of a file: its own last, those of the links that lead to it before.

    In the hub's cache a program is a link to a file that is named by its checksum.
    """
    names = [path.name]
    while path.is_symlink() and len(names) < 20:
        path = path.parent / path.readlink()
        names.append(path.name)
    return names


def _where_to_find(context: CheckContext, elsewhere: str) -> str:
    model = context.settings.model_path
    beside = [model, model.resolve().parent] if model else []
    for folder in beside:
        # Newer model pages hold files for `axllm`, whose vocabulary is a text file.
        if any(folder.glob("*_tokenizer.txt")) and not any(folder.glob("main_api_*")):
            return (
                "this model was published for axllm; download main_api_… from an older revision of "
                f"the model's page, and {elsewhere}"
            )
    return elsewhere


def _quote(path: Path) -> str:
    return shlex.quote(str(path))
