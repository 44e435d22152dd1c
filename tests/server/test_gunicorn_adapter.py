"""The service starts only on a gunicorn whose internals are the ones it was built on."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import gunicorn
import pytest
from gunicorn.workers.gthread import ThreadWorker

from axproxy.server.connection import Connection
from axproxy.server.gunicorn_adapter import (
    PROGRAM,
    READ_OF_CONNECTIONS,
    RELIED_ON,
    gunicorn_problem,
    lacking,
)
from tests.support.ports import own_port

ROOT = Path(__file__).resolve().parents[2]
WORKER = "gunicorn.workers.gthread:ThreadWorker"
ARBITER = "gunicorn.arbiter:Arbiter"


def names(place: str) -> set[str]:
    return {entry.partition("(")[0] for entry in RELIED_ON[place]}


def test_the_installed_gunicorn_has_everything_we_rely_on() -> None:
    different = list(lacking())
    assert not different, (
        f"gunicorn {gunicorn.__version__} has changed internals that axproxy/server relies on: "
        f"{'; '.join(different)}.  Adapt axproxy/server, or exclude it in requirements.txt."
    )
    assert gunicorn_problem() is None
    assert importlib.util.find_spec(PROGRAM)


def test_gunicorn_reads_nothing_of_a_connection_that_ours_lacks() -> None:
    read = set()
    for method in (ThreadWorker.handle_request, ThreadWorker._keepalive_after):
        tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
        read |= {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "conn"
        }
    assert read == READ_OF_CONNECTIONS, "gunicorn reads other attributes of a connection now"
    assert set(inspect.signature(Connection).parameters) == READ_OF_CONNECTIONS


METHODS = [entry for entry in RELIED_ON[WORKER] if "(" in entry]


@pytest.mark.parametrize("entry", METHODS)
def test_a_method_that_a_release_removes_is_named(
    monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    name = entry.partition("(")[0]
    for owner in ThreadWorker.__mro__[:-1]:
        if name in vars(owner):
            monkeypatch.delattr(owner, name)

    assert f"gunicorn.workers.gthread.ThreadWorker has no {name}" in list(lacking())


@pytest.mark.parametrize(
    ("path", "subject", "inherited"),
    [
        ("axproxy/server/worker.py", "self", WORKER),
        ("gunicorn.conf.py", "worker", WORKER),
        ("gunicorn.conf.py", "server", ARBITER),
    ],
)
def test_whatever_our_code_uses_of_gunicorns_objects_is_in_the_list(
    path: str, subject: str, inherited: str
) -> None:
    nodes = list(ast.walk(ast.parse((ROOT / path).read_text())))
    attributes = [
        node
        for node in nodes
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == subject
    ]
    assert attributes
    ours = {"SEND_TIMEOUT"}
    ours |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    ours |= {node.attr for node in attributes if isinstance(node.ctx, ast.Store)} - {"nr_conns"}
    assert {node.attr for node in attributes} - ours - names(inherited) == set()


def test_only_the_adapter_imports_gunicorn() -> None:
    allowed = {
        "axproxy/server/gunicorn_adapter.py",
        "axproxy/api/http/requests.py",  # the exceptions of a body; `api` may not import `server`
    }
    found = set()
    for path in [*ROOT.glob("*.py"), *ROOT.glob("axproxy/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(module.partition(".")[0] == "gunicorn" for module in modules):
                found.add(str(path.relative_to(ROOT)))
    assert found == allowed


RELEASES = {
    "without the worker": ("workers/gthread.py", "", "", "there is no gunicorn.workers.gthread"),
    "a hook renamed": (
        "workers/gthread.py",
        "murder_pending",
        "close_pending",
        "ThreadWorker has no murder_pending",
    ),
    "a hook no longer called": (
        "workers/gthread.py",
        "self.murder_pending()",
        "pass",
        "ThreadWorker.run does not call murder_pending",
    ),
    "an attribute renamed": (
        "workers/gthread.py",
        "nr_conns",
        "connection_count",
        "ThreadWorker has no nr_conns",
    ),
    "one more argument": (
        "workers/gthread.py",
        "def handle_request(self, req, conn)",
        "def handle_request(self, req, conn, deadline)",
        "ThreadWorker has handle_request(req, conn, deadline) where",
    ),
    "an exception renamed": (
        "http/errors.py",
        "LimitRequestLine",
        "RequestLineTooLong",
        "gunicorn.http",  # gunicorn's own modules no longer import each other in this scratch copy
    ),
}


@pytest.mark.parametrize(
    ("release", "command"),
    [
        *((release, "backend.py") for release in RELEASES.values()),
        (RELEASES["a hook renamed"], "-m gunicorn backend:app"),
    ],
    ids=[*RELEASES, "with gunicorn as the program"],
)
def test_on_another_gunicorn_the_service_ends_with_one_sentence(
    tmp_path: Path, release: tuple[str, str, str, str], command: str
) -> None:
    file, old, new, sentence = release
    shutil.copytree(
        Path(gunicorn.__file__).parent,
        tmp_path / "gunicorn",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    changed = tmp_path / "gunicorn" / file
    if old:
        text = changed.read_text()
        assert old in text
        changed.write_text(text.replace(old, new))
    else:
        changed.unlink()
    done = subprocess.run(
        [sys.executable, *command.split()],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "AX650_PORT": str(own_port())},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"backend: gunicorn {gunicorn.__version__} does not fit")
    assert sentence in done.stderr
    assert done.stderr.endswith(f"-m pip install -r {ROOT}/requirements.txt\n")
