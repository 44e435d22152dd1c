"""Run a program of the checkout on the Python that has what requirements.txt asks for.

Each entry point calls `use_own_python` before it imports anything of ours: a Python that has only a
part of the requirements, such as Debian's own, would end with a traceback.  This module must stay
readable for old Pythons and import next to nothing; the check costs about a millisecond.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = ROOT / "requirements.txt"
OLDEST = (3, 11)

_TRIED = "AXPROXY_OWN_PYTHON_TRIED"  # in the environment, so that no two Pythons start each other
_REQUIREMENT = re.compile(r"([\w.-]+)((?:(?:>=|<)[\d.]+,?)+)\s*(?:#.*)?")


def use_own_python() -> None:
    """Continue on the checkout's .venv if there is one, else check this Python.

    Ends the process with status 2 and a sentence when something is missing.
    """
    end_quietly_by_ctrl_c()
    tried = os.environ.pop(_TRIED, None)
    if not tried and _is_usable() and not _is_this_python():
        os.environ[_TRIED] = "1"
        try:
            os.execv(PYTHON, [str(PYTHON), *_arguments()])  # noqa: S606 - no shell, our file
        except OSError:  # built for another machine, for example
            del os.environ[_TRIED]
    check_python(Path(sys.argv[0]).stem)


def check_python(program: str) -> None:
    """End the process with status 2 and a sentence when this Python cannot run the service."""
    if sentence := python_problem():
        print(f"{program}: {sentence}", file=sys.stderr)
        sys.exit(2)


def python_problem() -> str | None:
    """Return what this Python lacks and which command helps, or `None`."""
    version = _text(sys.version_info[:2])
    make = f"run {_maker()}, which makes .venv"
    if sys.version_info < OLDEST:
        return f"Python {version} is too old, {_text(OLDEST)} or newer is needed; {make}"
    lacks = list(_lacking())
    if not lacks:
        return None
    listed = ", ".join(lacks)
    if not _is_this_python():
        if _is_usable():
            return f"{sys.executable} lacks {listed}; use {PYTHON} instead"
        gone = "the Python that .venv was made with is gone, and " if PYTHON.is_symlink() else ""
        return f"{gone}{sys.executable} lacks {listed}; {make}"
    made_with = _made_with()
    if made_with and made_with != version:
        return f".venv was made with Python {made_with}, and is Python {version} now; {make} anew"
    return f"{VENV} lacks {listed}; run {PYTHON} -m pip install -r {REQUIREMENTS}"


def requirements(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and version range, such as `>=3.1,<4`, of each line of a requirements file."""
    for line in text.splitlines():
        if found := _REQUIREMENT.fullmatch(line.strip()):
            yield found[1], found[2]


def fits(version: str, wanted: str) -> bool:
    """Return whether a version is in a range of `>=` and `<`; pre-releases count as the release."""
    for condition in wanted.split(","):
        least = condition.startswith(">=")
        have, limit = _numbers(version), _numbers(condition.lstrip("<>="))
        longest = max(len(have), len(limit))
        have, limit = (each + (0,) * (longest - len(each)) for each in (have, limit))
        if (have >= limit) is not least:
            return False
    return True


def _lacking() -> Iterator[str]:
    if not REQUIREMENTS.is_file():
        return
    installed = _installed()
    for name, wanted in requirements(REQUIREMENTS.read_text()):
        version = installed.get(_normal(name), "")
        if not version or not fits(version, wanted):
            version = _known_to_importlib(name)  # knows more ways in which packages are installed
        if not version:
            yield name
        elif not fits(version, wanted):
            yield f"{name}{wanted} (it has {version})"


def _installed() -> dict[str, str]:
    """The versions of what is installed, from the names of the folders that installers leave.

    importlib.metadata finds the same, but takes 20 ms to import, and more on a small machine.
    """
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            entries = os.listdir(folder or ".")
        except OSError:
            continue
        for entry in entries:
            stem, dot, _ = entry.rpartition(".")
            if dot and entry.endswith((".dist-info", ".egg-info")) and "-" in stem:
                name, version = stem.split("-")[:2]
                found.setdefault(_normal(name), version)
    return found


def _known_to_importlib(name: str) -> str:
    from importlib import metadata  # noqa: PLC0415 - only where something seems to be missing

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _arguments() -> list[str]:
    """Python's own options, the program and its arguments; Pythons before 3.10 forget the first."""
    return getattr(sys, "orig_argv", [sys.executable, *sys.argv])[1:]


def _is_usable() -> bool:
    return (VENV / "pyvenv.cfg").is_file() and os.access(PYTHON, os.X_OK)


def _is_this_python() -> bool:
    return Path(sys.prefix).resolve() == VENV.resolve()  # .venv may be a symbolic link


def _made_with() -> str:
    """The version, such as `3.11`, of the Python that made .venv; empty when it is not known."""
    try:
        text = (VENV / "pyvenv.cfg").read_text()
    except OSError:
        return ""
    found = re.search(r"^version(?:_info)?\s*=\s*(\d+\.\d+)", text, re.MULTILINE)
    return found[1] if found else ""


def _maker() -> str:
    script = ROOT / "run_integration.sh"
    return f"{script} once" if script.is_file() else f"sudo {ROOT / 'install.sh'}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def end_quietly_by_ctrl_c() -> None:
    """End without a traceback of half the imports, until the program has handlers of its own."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def no_arguments(manual: str | None) -> None:
    """Print the manual for `--help`, and refuse any other argument."""
    if not sys.argv[1:]:
        return
    if sys.argv[1] in ("-h", "--help"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head` is no error
        print(manual)
        sys.exit(0)
    name = Path(sys.argv[0]).name
    print(
        f"{Path(name).stem}: there is no {sys.argv[1]}; try python3 {name} --help", file=sys.stderr
    )
    sys.exit(2)


if __name__ == "__main__":  # start_tokenizer.sh checks its Python so, and gives its own name
    check_python(sys.argv[1])
