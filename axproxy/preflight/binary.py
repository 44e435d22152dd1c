"""Whether the vendor's program is there, is that program, and can run on this machine."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from axproxy.preflight.context import CheckContext
from axproxy.preflight.file_kind import Elf, Other, WrongFile, kind_of
from axproxy.preflight.finding import Finding

# Programs of the vendor that look alike: what each is, by how its name begins.
_LOOK_ALIKES = {
    "main_axcl": "the interactive program, which has no HTTP API",
    "main_api_ax650": "for boards where the AX650 itself is the host, not for a card",
    "main_ax650": "for boards where the AX650 itself is the host, and has no HTTP API",
    "axllm": "the vendor's newer program, which speaks another dialect",
}
_RIGHT = {"aarch64": "main_api_axcl_aarch64", "x86_64": "main_api_axcl_x86"}


def check_binary(context: CheckContext) -> Finding:
    """Looks at the file's name, mode and first bytes; it is not run."""
    path = context.settings.runtime_bin.resolve()
    right = _RIGHT.get(context.machine, "main_api_axcl")
    elsewhere = f"name the place of {right} in AX650_RUNTIME_BIN"

    def fail(seen: str, remedy: str) -> Finding:
        return Finding("binary", "fail", seen, remedy)

    try:
        kind = kind_of(path)
    except FileNotFoundError:
        return fail(f"the vendor's program {path} is not there", _where_it_is(context, elsewhere))
    except IsADirectoryError:
        return fail(f"{path} is a folder, not the vendor's program", elsewhere)
    except OSError as error:
        return fail(f"cannot read {path} ({error.strerror})", f"sudo chmod a+rx {_quote(path)}")
    if wrong := _wrong(context, path, kind, elsewhere):
        return fail(*wrong)
    if not context.can_access(path, os.X_OK):
        # Downloads and archives lose the execute bit.
        return fail(f"{path} may not be executed", f"chmod +x {_quote(path)}")
    return Finding("binary", "ok", f"{path} is a program for {context.machine}")


def _wrong(
    context: CheckContext, path: Path, kind: Elf | WrongFile | Other, elsewhere: str
) -> tuple[str, str] | None:
    """What is seen, and the remedy, of a file that is something else."""
    if isinstance(kind, WrongFile):
        return f"{path} is {kind.what}", kind.remedy
    for name, what in _LOOK_ALIKES.items():
        if path.name.startswith(name):
            return f"{path.name} is {what}", elsewhere
    if isinstance(kind, Other):
        is_it = "a script" if kind.script else "no program"
        wrapper = "; if it wraps the program: AX650_PREFLIGHT_SKIP=binary" if kind.script else ""
        return f"{path} is {is_it}, not the vendor's program", elsewhere + wrapper
    if kind.machine != context.machine:
        return f"{path} is for {kind.machine}, and this machine is {context.machine}", elsewhere
    return None


def _where_it_is(context: CheckContext, elsewhere: str) -> str:
    model = context.settings.model_path
    beside = [model, model.resolve().parent] if model else []
    for folder in beside:
        # Newer model pages carry files for `axllm`, whose vocabulary is a text file.
        if any(folder.glob("*_tokenizer.txt")) and not any(folder.glob("main_api_*")):
            return (
                "this model was published for axllm; take main_api_… from an older revision of "
                "its page (the history of its files), and " + elsewhere
            )
    return elsewhere


def _quote(path: Path) -> str:
    return shlex.quote(str(path))
