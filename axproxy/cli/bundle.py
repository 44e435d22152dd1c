"""`ax650 bundle`: one archive for a bug report, without prompts and secrets."""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import re
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from axproxy import __version__
from axproxy.cli.config import HIDDEN, setting_values
from axproxy.cli.logs import log_command
from axproxy.cli.service import ROOT, CommandFailed, ServiceClient, settings_by_hand
from axproxy.preflight.doctor import examine
from axproxy.preflight.running_service import find_service
from axproxy.preflight.unit_settings import UnitSettings
from axproxy.settings import SECRETS, Settings

_LOG_LINES = 3000
_TIMEOUT = 30.0  # seconds for each program that is asked
_KERNEL = re.compile(r"axcl|ax650|pcie|aer:|oom|out of memory", re.IGNORECASE)
# At debug the log has prompts and answers, in the text form, in JSON and in the journal.
_DEBUG = re.compile(r' DEBUG |"level": "debug"|^<7>')


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="the file (default: ax650-DATE.tar.gz here)")
    parser.epilog = "Look into it before you send it: tar -tzf FILE lists what is in it."


def run(options: argparse.Namespace) -> int:
    settings, unit = settings_by_hand()
    file = options.out or Path(time.strftime("ax650-%Y%m%d-%H%M%S.tar.gz"))
    secrets = secrets_in(settings, os.environ.get("HF_TOKEN", ""), unit)
    parts = {name: hide(_text_of(make), secrets) for name, make in _parts(settings, unit)}
    try:
        write_archive(file, parts)
    except OSError as error:
        raise CommandFailed(f"cannot write {file} ({error.strerror}); use --out") from error
    print(f"{file} has {', '.join(parts)}; no prompts, keys or tokens are in it")
    return 0


def _parts(
    settings: Settings, unit: UnitSettings | None
) -> Iterator[tuple[str, Callable[[], str]]]:
    client = ServiceClient(settings)
    yield "about.txt", _about
    yield "config.json", lambda: _json(map(vars, setting_values(settings, unit, os.environ)))
    yield "doctor.json", lambda: _json(map(asdict, examine(settings, find_service(settings))))
    for name, path in (("health", "/health"), ("models", "/api/tags"), ("loaded", "/api/ps")):
        yield f"{name}.json", lambda path=path: _json(client.get(path))  # type: ignore[misc]  # a default binds it
    file = settings.log_file and (ROOT / settings.log_file if unit else settings.log_file)
    yield "log.txt", lambda: without_debug(_output(log_of(file, unit is not None)))
    yield "kernel.txt", lambda: kernel_lines(_output(["dmesg", "-T"]))


def _about() -> str:
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    model = Path("/proc/device-tree/model")
    board = model.read_text().strip("\0") if model.is_file() else platform.machine()
    lines = (
        f"service {__version__}",
        f"Python {platform.python_version()}",
        f"{release}, kernel {platform.release()}, {platform.machine()}",
        board,
    )
    return "\n".join(lines) + "\n"


def log_of(file: Path | None, installed: bool) -> list[str]:
    """Return the command that prints the end of the log.  Raises `CommandFailed` without one."""
    return log_command(file, installed, _LOG_LINES, follow=False)


def without_debug(text: str) -> str:
    """Return a log without the lines that may hold prompts and answers.

    Lines that go on from one of them go with it.
    """
    kept, drops = [], False
    for line in text.splitlines(keepends=True):
        begins = re.match(r"\d{4}-|\{|<\d>|[A-Z][a-z]{2} +\d", line)
        drops = bool(_DEBUG.search(line)) if begins else drops
        if not drops:
            kept.append(line)
    return "".join(kept)


def kernel_lines(text: str) -> str:
    """Return the lines of the kernel's log about the card, its bus and memory."""
    return "".join(line for line in text.splitlines(keepends=True) if _KERNEL.search(line))


def secrets_in(settings: Settings, token: str, unit: UnitSettings | None) -> list[str]:
    """Return what must never be in the archive."""
    values = dict(unit.values) if unit else {}
    found = [settings.api_key, settings.tokenizer_secret, token, values.get("HF_TOKEN")]
    return [*filter(None, found), *(values[name] for name in SECRETS if values.get(name))]


def hide(text: str, secrets: Iterable[str]) -> str:
    """Return the text with each secret replaced."""
    for secret in secrets:
        for form in (secret, json.dumps(secret)[1:-1]):
            text = text.replace(form, HIDDEN)
    return text


def write_archive(file: Path, parts: dict[str, str]) -> None:
    """Write a gzipped tar file that only this user may read.  Raises `OSError`."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with (
        os.fdopen(descriptor, "wb") as output,
        tarfile.open(fileobj=output, mode="w:gz") as archive,
    ):
        for name, text in parts.items():
            content = text.encode(errors="replace")
            entry = tarfile.TarInfo(f"ax650/{name}")
            entry.size, entry.mtime = len(content), int(time.time())
            archive.addfile(entry, io.BytesIO(content))


def _text_of(make: Callable[[], str]) -> str:
    """Return what is made, or why it cannot be: a missing part must not cost the others."""
    try:
        return make()
    except (CommandFailed, OSError, subprocess.SubprocessError, ValueError) as error:
        return f"not available: {error}\n"


def _output(command: list[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, timeout=_TIMEOUT
    )
    return done.stdout or f"{command[0]}: {done.stderr}"


def _json(value: object) -> str:
    plain = value if isinstance(value, dict) else list(value)  # type: ignore[call-overload]  # an iterable
    return json.dumps(plain, indent=1, ensure_ascii=False) + "\n"
