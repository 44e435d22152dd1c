"""Imports point one way, and modules stay small."""

import ast
from collections.abc import Iterable
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOORS = {"backend", "runtime_supervisor", "mock_main_api"}  # the root's modules
PURE = [
    "axproxy.errors",
    "axproxy.output.limits",
    "axproxy.messages",
    "axproxy.process.restart",
    "axproxy.settings",
    "axproxy.process.states",
    "axproxy.output.thinking",
    "axproxy.prompts.tool_results",
]
DIALECTS = [
    "axproxy.api.anthropic.requests",
    "axproxy.api.native.requests",
    "axproxy.api.ollama.store",
    "axproxy.api.ollama.requests",
    "axproxy.api.openai.requests",
    "axproxy.api.openai.responses_requests",
]

# Modules through which a program touches the world outside it.
WORLD = {
    "asyncio",
    "ctypes",
    "fcntl",
    "flask",
    "gunicorn",
    "http",
    "multiprocessing",
    "os",
    "psutil",
    "pty",
    "requests",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "socketserver",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "tokenizers",
    "urllib",
    "urllib3",
}


def modules_of(package: str) -> dict[str, Path]:
    """Dotted names and files of a package and all in it."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    assert found, f"{package} has no modules"
    return found


@cache
def imported_by(path: Path) -> frozenset[str]:
    """Everything that a file names in an import, wherever in the file that stands.

    Of `from a import b` both `a` and `a.b`, for `b` may be a module.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def tops(names: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


MODULES = modules_of("axproxy")
GRAPH = {name: imported_by(path) & MODULES.keys() - {name} for name, path in MODULES.items()}


def reached_from(name: str) -> set[str]:
    """Every module of the world that is imported with this one, directly or through others."""
    seen, to_do = {name}, [name]
    while to_do:
        new = GRAPH[to_do.pop()] - seen
        seen |= new
        to_do += new
    return tops(other for module in seen for other in imported_by(MODULES[module]))


def offenders(files: Iterable[Path], forbidden: set[str]) -> dict[str, set[str]]:
    return {
        str(path.relative_to(ROOT)): wrong
        for path in files
        if (wrong := tops(imported_by(path)) & forbidden)
    }


def test_the_package_knows_nothing_of_the_root_nor_of_the_simulator() -> None:
    assert offenders(MODULES.values(), DOORS | {"axmock"}) == {}


def test_the_simulator_knows_nothing_of_the_service() -> None:
    files = [ROOT / "mock_main_api.py", *modules_of("axmock").values()]
    assert offenders(files, {"axproxy"} | DOORS - {"mock_main_api"}) == {}


def test_imports_inside_the_package_point_one_way() -> None:
    order = list(TopologicalSorter(GRAPH).static_order())  # raises CycleError, which shows the ring
    place = {name: at for at, name in enumerate(order)}
    assert set(order) == set(MODULES)
    assert all(place[used] < place[name] for name in GRAPH for used in GRAPH[name])


@pytest.mark.parametrize("name", PURE)
def test_the_rules_of_the_house_do_no_input_or_output(name: str) -> None:
    assert reached_from(name) & WORLD == set()


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_is_bytes_in_and_bytes_out(name: str) -> None:
    assert reached_from(name) & {"flask", "werkzeug", "requests", "threading", "socket"} == set()


def test_modules_stay_small() -> None:
    files = [*MODULES.values(), *modules_of("axmock").values(), *ROOT.glob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > 300} == {}
