"""Each entry point runs on a Python that has the requirements, or reports what is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import gunicorn
import packaging
import pytest

from axproxy.cli import own_python
from axproxy.cli.own_python import fits, python_problem, requirements

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = ["axproxy", "deploy", "backend.py", "runtime_supervisor.py", "gunicorn.conf.py"]
ENTRIES += ["start_tokenizer.sh", "run_integration.sh", "install.sh", "requirements.txt"]
VERSION = "{}.{}".format(*sys.version_info[:2])
DEBIANS = {"Flask": "3.1.0", "gunicorn": "27.0.1"}
TEXT = (ROOT / "requirements.txt").read_text()
ALL = {name: metadata.version(name) for name, _ in requirements(TEXT)}

Done = subprocess.CompletedProcess[str]


class Checkout:
    """A copy of the program, and Pythons that lack something."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.root.mkdir()
        for name in ENTRIES:
            if (ROOT / name).is_dir():
                skip = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, self.root / name, ignore=skip)
            else:
                shutil.copy(ROOT / name, self.root / name)
        self.maker = f"{self.root}/run_integration.sh once"

    def python(self, name: str, packages: dict[str, str]) -> Path:
        """Make a virtual environment with packages that can be found, and mostly do nothing."""
        folder = self.root / name
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        site = folder / "lib" / f"python{VERSION}" / "site-packages"
        for package, version in packages.items():
            if package == "gunicorn":
                (site / "gunicorn").symlink_to(Path(gunicorn.__file__).parent)
                (site / "packaging").symlink_to(Path(packaging.__file__).parent)
            else:
                (site / package.lower()).mkdir()
                (site / package.lower() / "__init__.py").touch()
            info = site / f"{package.replace('-', '_')}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
            )
        return folder / "bin" / "python"

    def run(self, python: Path, *command: str, **environ: str) -> Done:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AX650_", "OLLAMA_", "PYTHON"))
        }
        path = f"{python.parent}:/usr/bin:/bin"
        program = [] if command[0].endswith(".sh") else [str(python)]
        return subprocess.run(
            [*program, *command],
            env={**inherited, "PATH": path, **environ},
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def complaint(done: Done) -> str:
    """The one sentence with which a program ended with status 2."""
    assert done.returncode == 2, done
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.rstrip("\n")


COMMANDS = [
    "backend.py",
    "backend.py doctor",
    "runtime_supervisor.py",
    "-m gunicorn backend:app",
    "./start_tokenizer.sh",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_python_with_a_part_of_the_requirements_is_refused_in_one_sentence(
    checkout: Checkout, command: str
) -> None:
    python = checkout.python("debian", DEBIANS)
    said = complaint(checkout.run(python, *command.split()))

    missing = ", ".join(name for name in ALL if name not in ("flask", "gunicorn"))
    sentence = f"lacks {missing}; run {checkout.maker}, which makes .venv"
    assert re.fullmatch(rf"[\w.]+: \S+ {re.escape(sentence)}", said), said
    assert str(python.parent) in said


@pytest.mark.parametrize("command", ["backend.py", "runtime_supervisor.py"])
def test_the_checkouts_own_python_is_preferred(checkout: Checkout, command: str) -> None:
    (checkout.root / ".venv").symlink_to(sys.prefix)
    python = checkout.python("debian", DEBIANS)
    done = checkout.run(python, command, AX650_RUNTIME="attach", AX650_PORT="no port")

    assert "AX650_PORT" in complaint(done)  # the settings are read, so everything was imported


def test_gunicorn_on_another_python_is_pointed_to_the_checkouts_own(checkout: Checkout) -> None:
    (checkout.root / ".venv").symlink_to(sys.prefix)
    python = checkout.python("debian", DEBIANS)
    said = complaint(checkout.run(python, "-m", "gunicorn", "backend:app"))

    assert said.endswith(f"; use {checkout.root}/.venv/bin/python instead")


def test_versions_are_compared(checkout: Checkout) -> None:
    python = checkout.python("old", {**ALL, "flask": "2.2.5"})
    said = complaint(checkout.run(python, "backend.py"))

    assert said.endswith(
        f"lacks flask>=3.1,<4 (it has 2.2.5); run {checkout.maker}, which makes .venv"
    )


def test_an_own_python_that_lacks_something_is_told_how_to_get_it(checkout: Checkout) -> None:
    without = {name: version for name, version in ALL.items() if name != "psutil"}
    python = checkout.python(".venv", without)
    said = complaint(checkout.run(python, "backend.py"))

    install = f"{checkout.root}/.venv/bin/python -m pip install -r {checkout.root}/requirements.txt"
    assert said == f"backend: {checkout.root}/.venv lacks psutil; run {install}"


def of_another_version(python: Path) -> None:
    """What a system upgrade leaves: .venv/bin/python is a Python that .venv was not made with."""
    config = python.parents[1] / "pyvenv.cfg"
    config.write_text(re.sub(r"(?m)^version = .*", "version = 3.9.2", config.read_text()))


def test_an_own_python_that_became_another_version_is_reported(checkout: Checkout) -> None:
    python = checkout.python(".venv", {})
    of_another_version(python)

    expected = f".venv was made with Python 3.9, and is Python {VERSION} now; run"
    for caller in (python, checkout.python("debian", DEBIANS)):
        said = complaint(checkout.run(caller, "backend.py"))
        assert said == f"backend: {expected} {checkout.maker}, which makes .venv anew"


def test_an_installed_copy_names_the_install_script(checkout: Checkout) -> None:
    (checkout.root / "run_integration.sh").unlink()  # install.sh does not copy it
    python = checkout.python(".venv", {})
    of_another_version(python)

    said = complaint(checkout.run(python, "backend.py"))
    assert said.endswith(f"; run sudo {checkout.root}/install.sh, which makes .venv anew")


def test_an_own_python_that_is_gone_is_reported(checkout: Checkout) -> None:
    own = checkout.python(".venv", ALL)
    for link in own.parent.glob("python*"):
        link.unlink()
    own.symlink_to("/usr/bin/python3.2")

    python = checkout.python("debian", DEBIANS)
    for command in ("backend.py", "./start_tokenizer.sh"):
        said = complaint(checkout.run(python, command))
        assert "the Python that .venv was made with is gone, and " in said
        assert said.endswith(f"run {checkout.maker}, which makes .venv")


def test_a_complete_python_is_used_where_there_is_no_own(checkout: Checkout) -> None:
    done = checkout.run(Path(sys.executable), "backend.py", AX650_PORT="no port")
    assert "AX650_PORT" in complaint(done)


def test_two_pythons_do_not_start_each_other_for_ever(checkout: Checkout) -> None:
    other = checkout.python("debian", DEBIANS)
    own = checkout.python(".venv", {})
    own.unlink()
    own.write_text(f'#!/bin/sh\nexec {other} "$@"\n')  # so its prefix never is .venv
    own.chmod(0o755)

    assert "lacks" in complaint(checkout.run(other, "backend.py"))


def test_options_of_python_and_arguments_are_passed_on(checkout: Checkout) -> None:
    (checkout.root / ".venv").symlink_to(sys.prefix)
    python = checkout.python("debian", DEBIANS)
    done = checkout.run(python, "-X", "importtime", "backend.py", "nonsense")

    assert done.returncode == 2
    assert "import time:" in done.stderr
    assert "backend: there is no command nonsense" in done.stderr


def test_every_line_of_the_requirements_is_understood() -> None:
    lines = [line for line in TEXT.splitlines() if line.strip() and not line.startswith("#")]
    assert len(list(requirements(TEXT))) == len(lines) > 5


def test_the_quick_look_finds_what_importlib_finds() -> None:
    found = own_python._installed()
    assert {name: found.get(name) for name in ALL} == ALL
    assert python_problem() is None


@pytest.mark.parametrize(
    ("version", "wanted", "fit"),
    [
        ("3.1.0", ">=3.1,<4", True),
        ("3.1", ">=3.1.0,<4", True),
        ("3.0.9", ">=3.1,<4", False),
        ("4.0", ">=3.1,<4", False),
        ("3.10", ">=3.9,<4", True),
        ("27.0.1", ">=27,<28", True),
        ("4.0rc1", ">=3.1,<4", False),
        ("3.1.3+local", ">=3.1,<4", True),
        ("unknown", ">=3.1,<4", False),
    ],
)
def test_a_version_fits_a_range(version: str, wanted: str, fit: bool) -> None:
    assert fits(version, wanted) is fit


def test_the_check_imports_nothing_heavy() -> None:
    script = (
        "import __future__, os, pathlib, re, signal, sys; known = set(sys.modules)\n"
        "from axproxy.cli.own_python import python_problem; assert python_problem() is None\n"
        "print(*sorted(set(sys.modules) - known))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    ours = {"axproxy", "axproxy.cli", "axproxy.cli.own_python"}
    assert set(done.stdout.split()) <= {*ours, "collections.abc"}


def test_a_python_that_is_too_old_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_python, "OLDEST", (9, 1))
    assert python_problem() == (
        f"Python {VERSION} is too old, 9.1 or newer is needed; "
        f"run {ROOT}/run_integration.sh once, which makes .venv"
    )


@pytest.mark.parametrize(
    ("system", "remedy"),
    [
        (
            "ID=ubuntu\nVERSION_ID=22.04",
            "sudo apt install python3.11 python3.11-venv",
        ),
        ("ID=debian\nVERSION_ID=12", "sudo apt install python3 python3-venv"),
        ("ID=ubuntu\nVERSION_ID=20.04", "python3 is 3.10, which is too old; upgrade the system"),
        ("", "python3 is 3.10, which is too old; upgrade the system"),
    ],
)
def test_a_system_with_an_old_python_gets_its_own_remedy(
    tmp_path: Path, system: str, remedy: str
) -> None:
    (tmp_path / "os-release").write_text(system)
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$2" in *exit*) exit 1 ;; *) echo 3.10 ;; esac\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["/bin/bash", "-c", ". deploy/venv.sh; find_python"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "OS_RELEASE": str(tmp_path / "os-release")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or newer is needed; ")
    assert remedy in done.stderr


@pytest.mark.parametrize(
    ("printed", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "there is no room on the disk of"),
        ("Error: [Errno 13] Permission denied: '/x/.venv'", "/.venv cannot be written; make"),
        ("Error: [Errno 30] Read-only file system: '/x'", "/.venv cannot be written; make"),
    ],
)
def test_a_fault_while_the_own_python_is_made_is_one_sentence(
    tmp_path: Path, printed: str, sentence: str
) -> None:
    python = tmp_path / "python3"
    python.write_text(
        f"""#!/bin/sh
case "$*" in *--clear*) echo Traceback >&2; echo "{printed}" >&2; exit 1 ;; esac
"""
    )
    python.chmod(0o755)
    done = subprocess.run(
        ["/bin/bash", "-c", f". {ROOT}/deploy/venv.sh; prepare_venv requirements.txt"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_tokenizer_on_a_python_without_its_packages_says_what_to_run() -> None:
    script = (
        "import runpy, sys; sys.modules['tokenizers'] = None\n"
        "runpy.run_module('axproxy.tokenizer', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "lacks tokenizers; run: sudo ./install.sh again" in done.stderr
    assert "Traceback" not in done.stderr
