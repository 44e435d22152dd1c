"""install.sh in a scratch root: it changes nothing outside and starts nothing."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.service import Start

ROOT = Path(__file__).resolve().parents[3]
Done = subprocess.CompletedProcess[str]


class Scratch:
    """A root folder to install to from `checkout`; all that needs the network is already there."""

    def __init__(self, root: Path, checkout: Path) -> None:
        self.root = root
        self.checkout = checkout
        self.app = root / "opt" / "ax650"
        self.settings = root / "etc" / "ax650.env"
        self.unit = root / "etc" / "systemd" / "system" / "ax650.service"
        self.backoff = self.unit.with_name("ax650.service.d") / "10-backoff.conf"
        self.tools = root / "tools"

    def furnish(self) -> None:
        self.tools.mkdir(parents=True)
        self.tool("systemctl", "echo systemd 252 '(252.38)'")
        python = self.app / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        files = sorted(self.checkout.glob("requirements*.txt"))
        content = "".join(path.read_text() for path in files)
        stamp = "{} {}\n{}".format(*sys.version_info[:2], content)
        (self.app / ".venv" / "installed-requirements").write_text(stamp)

    def tool(self, name: str, script: str) -> None:
        """Add a program that is found before the machine's own."""
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def install(self, *words: str, **environ: str) -> Done:
        path = f"{self.tools}:{os.environ['PATH']}"
        return subprocess.run(
            ["/bin/bash", str(self.checkout / "install.sh"), *words],
            env={"PATH": path, "DESTDIR": str(self.root), **environ},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def files(self) -> dict[str, bytes]:
        found = [path for path in self.root.rglob("*") if path.is_file()]
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in found
            if "__pycache__" not in path.parts
        }


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that edits and runs meanwhile do not change it."""
    copy = tmp_path_factory.mktemp("checkout") / "checkout"
    others = shutil.ignore_patterns(".*", "__pycache__", "tests", "benchmarks")
    shutil.copytree(ROOT, copy, ignore=others)
    return copy


@pytest.fixture
def scratch(tmp_path: Path, checkout: Path) -> Scratch:
    """A root before the first run."""
    made = Scratch(tmp_path / "root", checkout)
    made.furnish()
    return made


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Scratch:
    made = Scratch(tmp_path_factory.mktemp("installed") / "root", checkout)
    made.furnish()
    succeeds(made.install())
    return made


@pytest.fixture
def installed(template: Scratch, tmp_path: Path) -> Scratch:
    """A root after the first run."""
    shutil.copytree(template.root, tmp_path / "installed")
    return Scratch(tmp_path / "installed", template.checkout)


def succeeds(done: Done) -> Done:
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_pyaxengine_is_installed_from_its_wheel_only(scratch: Scratch) -> None:
    for words in (["--with-axengine"], ["--with-axengine", "/nowhere/axengine.whl"]):
        done = scratch.install(*words)
        assert done.returncode == 1
        assert "pyaxengine/releases" in done.stderr


def test_everything_that_the_unit_names_is_installed(installed: Scratch) -> None:
    unit = installed.unit.read_text()
    assert f"WorkingDirectory=/{installed.app.relative_to(installed.root)}" in unit
    assert "EnvironmentFile=-/etc/ax650.env" in unit
    assert (installed.app / "backend.py").is_file()
    assert (installed.app / "docs" / "hardware.md").is_file()
    assert installed.settings.stat().st_mode & 0o777 == 0o600
    assert not installed.backoff.exists()


def test_the_command_and_its_completion_are_installed(installed: Scratch) -> None:
    command = installed.root / "usr" / "local" / "bin" / "ax650"
    assert command.stat().st_mode & 0o777 == 0o755
    python, program = command.read_text().split("exec ")[1].split()[:2]
    assert (installed.root / python.lstrip("/")).is_file()
    assert (installed.root / program.lstrip("/")).is_file()
    completion = installed.root / "usr/local/share/bash-completion/completions/ax650"
    assert "-F _shtab_ax650 ax650" in completion.read_text()
    succeeds(installed.install("--uninstall"))
    assert not command.exists()
    assert not completion.exists()


@pytest.mark.integration
def test_the_installed_service_answers(installed: Scratch, start_service: Start) -> None:
    python = installed.app / ".venv" / "bin" / "python"
    service = start_service(command=[str(python), "backend.py"], folder=installed.app)

    reply = service.post("/generate", {"prompt": "Hello", "max_tokens": 4})
    assert reply.json()["usage"]["completion_tokens"] == 4
    _, runtime = service.pids()
    assert str(installed.app) in Path(f"/proc/{runtime}/cmdline").read_text()
    assert service.stop() == 0


def test_a_second_run_changes_nothing_and_keeps_the_settings(installed: Scratch) -> None:
    installed.settings.write_text("AX650_API_KEY=mine\n")
    before = installed.files()
    again = succeeds(installed.install())

    assert installed.files() == before
    assert "copying" not in again.stdout
    assert "writing" not in again.stdout
    assert f"keeping your settings in {installed.settings}" in again.stdout


def test_an_update_replaces_old_files_and_removes_deleted_ones(installed: Scratch) -> None:
    (installed.app / "axproxy" / "no_longer.py").write_text("")
    (installed.app / "backend.py").write_text("old")
    again = succeeds(installed.install())

    assert "copying the program" in again.stdout
    assert not (installed.app / "axproxy" / "no_longer.py").exists()
    assert (installed.app / "backend.py").read_text() == (
        installed.checkout / "backend.py"
    ).read_text()


def test_the_services_user_can_read_a_checkout_made_with_a_strict_umask(
    scratch: Scratch, tmp_path: Path
) -> None:
    scratch.checkout = Path(shutil.copytree(scratch.checkout, tmp_path / "checkout"))
    for path in scratch.checkout.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    succeeds(scratch.install())

    modes = {path: path.stat().st_mode for path in (scratch.app / "axproxy").rglob("*")}
    assert modes
    assert not [path for path, mode in modes.items() if not mode & 0o004]


def test_a_checkout_whose_modules_are_being_compiled_is_installed(
    scratch: Scratch, tmp_path: Path
) -> None:
    scratch.checkout = Path(shutil.copytree(scratch.checkout, tmp_path / "checkout"))
    caches = scratch.checkout / "axproxy" / "__pycache__"
    caches.mkdir()
    over = threading.Event()

    def compiles() -> None:  # as Python does: under a temporary name first
        for number in itertools.cycle(range(100)):
            if over.is_set():
                return
            (caches / f"m{number}.pyc.4711").touch()
            (caches / f"m{number}.pyc.4711").rename(caches / f"m{number}.pyc")

    compiling = threading.Thread(target=compiles)
    compiling.start()
    try:
        succeeds(scratch.install())
    finally:
        over.set()
        compiling.join()

    assert not (scratch.app / "axproxy" / "__pycache__" / "m0.pyc").exists()


@pytest.mark.parametrize("version", ["254", "257.9-1~deb13u1"])
def test_a_newer_systemd_gets_growing_pauses(installed: Scratch, version: str) -> None:
    installed.tool("systemctl", f"echo systemd {version}")
    succeeds(installed.install())

    assert (
        installed.backoff.read_text()
        == (installed.checkout / "deploy" / "backoff.conf").read_text()
    )


def test_uninstalling_removes_everything_but_the_settings(installed: Scratch) -> None:
    installed.tool("systemctl", "echo systemd 257")
    succeeds(installed.install())
    done = succeeds(installed.install("--uninstall"))

    assert set(installed.files()) == {"etc/ax650.env", "tools/systemctl"}
    assert not installed.app.exists()
    assert not installed.backoff.parent.exists()
    assert f"your settings stay in {installed.settings}" in done.stdout
    succeeds(installed.install("--uninstall"))


def test_a_checkout_in_the_programs_place_is_not_deleted(installed: Scratch) -> None:
    (installed.app / ".git").mkdir()
    done = succeeds(installed.install("--uninstall"))

    assert "is a git checkout, so it stays" in done.stdout
    assert (installed.app / "backend.py").exists()


def test_a_dry_run_prints_every_step_and_does_nothing(scratch: Scratch, installed: Scratch) -> None:
    for place, words in ((scratch, ["--dry-run"]), (installed, ["--uninstall", "--dry-run"])):
        before = place.files()
        done = succeeds(place.install(*words))

        assert place.files() == before
        assert str(place.unit) in done.stdout
        assert "would run:" in done.stdout


@pytest.mark.parametrize("words", [[], ["--uninstall"]], ids=["install", "uninstall"])
def test_without_root_it_prints_the_command_to_run(scratch: Scratch, words: list[str]) -> None:
    scratch.tool("id", "echo 1000")
    done = scratch.install(*words, DESTDIR="")

    assert done.returncode == 1
    command = " ".join(["sudo", str(scratch.checkout / "install.sh"), *words])
    assert done.stderr == f"install: this needs root; run: {command}\n"


def test_a_misspelt_option_is_refused_before_anything_is_done(scratch: Scratch) -> None:
    before = scratch.files()
    done = scratch.install("--unistall")

    assert done.returncode == 1
    assert done.stderr == (
        "install: unknown option --unistall; ./install.sh --help lists the options\n"
    )
    assert scratch.files() == before


def test_the_help_is_the_scripts_opening_comment(scratch: Scratch) -> None:
    assert "sudo ./install.sh --uninstall" in succeeds(scratch.install("--help")).stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not on this machine")
def test_the_shell_scripts_pass_shellcheck() -> None:
    scripts = [*ROOT.glob("*.sh"), *(ROOT / "deploy").glob("*.sh")]
    verdict = subprocess.run(
        [shutil.which("shellcheck") or "", "--external-sources", *map(str, scripts)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert verdict.returncode == 0, verdict.stdout
