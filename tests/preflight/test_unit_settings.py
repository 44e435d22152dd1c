"""The doctor of an installed service looks at what systemd gives that service."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from axproxy.preflight.doctor import run
from axproxy.preflight.unit_settings import UnitSettings, read_unit_settings
from tests.support.ports import own_port
from tests.support.service import ROOT

FILE = "/etc/ax650.env"
Install = Callable[..., None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an installed program, in a shell without settings."""
    for name in ("AX650_MODEL_PATH", "AX650_RUNTIME", "AX650_PORT", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "opt" / "ax650"


@pytest.fixture
def install(tmp_path: Path, program: Path) -> Install:
    """Return what writes the unit, and the file with its settings."""

    def write(text: str | None, *more: str) -> None:
        unit = tmp_path / "etc" / "systemd" / "system" / "ax650.service"
        unit.parent.mkdir(parents=True, exist_ok=True)
        words = (ROOT / "backend.service").read_text()
        unit.write_text(words.replace("=/opt/ax650\n", f"={program}\n") + "\n".join(more))
        if text is not None:
            (tmp_path / "etc" / "ax650.env").write_text(text)

    return write


def read(program: Path, root: Path) -> UnitSettings:
    settings = read_unit_settings(program, root)
    assert settings is not None
    return settings


def test_without_a_unit_of_this_program_the_shell_counts(
    tmp_path: Path, program: Path, install: Install
) -> None:
    assert read_unit_settings(program, tmp_path) is None
    install("AX650_PORT=1")
    assert read_unit_settings(ROOT, tmp_path) is None


def test_a_file_is_read_as_systemd_reads_it(
    tmp_path: Path, program: Path, install: Install
) -> None:
    install(
        "# a comment\n; another\n\nAX650_MODEL_PATH=/models/q\nAX650_API_KEY='a b'\n"
        'AX650_MODEL_NAME="a \\"b\\""\nAX650_MOCK_ARGS=one \\\ntwo\nAX650_PORT = 5005\n',
        "[Service]",
        "Environment=AX650_LOG_LEVEL=debug AX650_PORT=1",
    )
    found = read(program, tmp_path)
    assert found.values == {
        "AX650_MODELS_DIR": "/var/lib/ax650/models",
        "AX650_MODEL_PATH": "/models/q",
        "AX650_API_KEY": "a b",
        "AX650_MODEL_NAME": 'a "b"',
        "AX650_MOCK_ARGS": "one two",
        "AX650_PORT": "5005",
        "AX650_LOG_LEVEL": "debug",
        "AX650_SIMULATE": "off",
    }
    assert found.finding({}, program, False).verdict == "ok"
    shell = found.finding({"AX650_PORT": "7"}, program, False)
    assert (shell.verdict, shell.remedy) == ("warn", "unset AX650_PORT")


@pytest.mark.parametrize(
    ("line", "seen", "remedy"),
    [
        (
            "export AX650_MODEL_PATH=/m",
            "it begins with export",
            "write AX650_MODEL_PATH=/m",
        ),
        ("export AX650_API_KEY=secret", "it begins with export", "write AX650_API_KEY=…"),
        ("AX650_MODEL_PATH /m", "it has no =", "write NAME=value, or # in front of"),
        ("AX650-PORT=5", "'AX650-PORT' is no name of a variable", "write NAME=value"),
    ],
)
def test_a_line_that_systemd_ignores_is_named(
    tmp_path: Path, program: Path, install: Install, line: str, seen: str, remedy: str
) -> None:
    install(f"# the model\n{line}\n")
    finding = read(program, tmp_path).finding({}, program, False)
    assert finding.verdict == "fail"
    assert finding.seen.startswith(f"{FILE}, line 2, is ignored by systemd: ")
    assert seen in finding.seen
    assert finding.remedy.startswith(remedy)


def test_a_file_that_may_not_be_read_is_named_with_the_way_to_read_it(
    tmp_path: Path, program: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("AX650_PORT=1")
    closed = tmp_path / "etc" / "ax650.env"
    read_text = Path.read_text

    def refuse(path: Path, *args: object, **options: object) -> str:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", refuse)
    found = read(program, tmp_path)
    finding = found.finding({}, program, False)
    assert finding.verdict == "fail"
    assert finding.seen == f"this user may not read the service's settings in {FILE}"
    assert finding.remedy == f"sudo {program}/.venv/bin/python {program}/backend.py doctor"
    assert found.finding({}, program, True).verdict == "warn"  # the service tells the rest


def test_the_doctor_checks_the_model_of_the_installed_service(
    tmp_path: Path, program: Path, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = "\n".join(
        f"AX650_{name}={own_port()}" for name in ("PORT", "RUNTIME_PORT", "TOKENIZER_PORT")
    )
    install(f"{ports}\nAX650_MODEL_PATH=/models/nothing\nAX650_RUNTIME_BIN=main_api_axcl\n")
    assert run(Namespace(json=True), program, tmp_path) == 1
    findings = {each["name"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["settings"]["seen"] == f"the service's settings: {FILE}"
    assert findings["model-folder"]["seen"] == "/models/nothing does not exist"
    assert f"{program}/main_api_axcl does not exist" in findings["binary"]["seen"]


def test_a_setting_that_is_refused_comes_with_its_line(
    tmp_path: Path, program: Path, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("export AX650_MODEL_PATH=/m\nAX650_PORT=5002\nAX650_MAX_QUEUE=many\n")
    assert run(Namespace(json=False), program, tmp_path) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"backend: {FILE}, line 1, is ignored by systemd: ")
    assert said[1].startswith(f"backend: {FILE}, line 3: AX650_MAX_QUEUE must be a whole number")
