"""Which part of the service may import which, as a table; and the size and shape of modules."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENTRY_POINTS = {
    "backend",
    "runtime_supervisor",
    "mock_main_api",
    "mock_axllm",
}  # the root's modules

# The layers, from the bottom to the top.  Each row: a part of `axproxy`, and what it may import of
# the others.  Root modules compose the parts and may import anything.
WORDS = {
    "api_keys",
    "control_tokens",
    "durations",
    "errors",
    "health",
    "local_http",
    "messages",
    "printable",
}
UP_TO_PREFLIGHT = {
    *WORDS,
    *("settings", "output", "prompts", "process", "ops", "models"),
    *("card", "tokenizer", "engine", "preflight"),
}
MAY_IMPORT: Mapping[str, set[str]] = {
    "api_keys": set(),
    "control_tokens": set(),
    "durations": set(),
    "errors": set(),
    "health": set(),
    "local_http": set(),
    "messages": set(),
    "printable": set(),
    "setting_values": {"durations"},
    "settings": {"durations", "setting_values"},
    "output": WORDS,
    "prompts": WORDS | {"output"},
    "process": WORDS | {"settings"},
    "ops": WORDS | {"settings"},
    "models": WORDS | {"settings", "prompts"},
    "card": WORDS | {"settings", "process"},
    "tokenizer": WORDS | {"settings", "prompts", "models", "ops"},
    "engine": WORDS | {"settings", "output", "prompts", "models"},
    "preflight": WORDS | {"settings", "process", "card", "models"},
    "runtimes": UP_TO_PREFLIGHT,
    "api": WORDS | {"settings", "output", "models", "engine", "ops"},
    "server": WORDS | {"ops", "process", "api"},
    "cli": UP_TO_PREFLIGHT | {"runtimes", "api"},
}

# The same inside `api`.  OpenAI's and Anthropic's APIs are served as Ollama serves them, so they
# may use Ollama's names and words; never the other way round.
API_TOOLS = {"gojson", "http", "encoding", "streaming", "tools", "pictures"}
DIALECTS = {"ollama", "openai", "anthropic", "native"}
API_MAY_IMPORT: Mapping[str, set[str]] = {
    **{tool: API_TOOLS for tool in API_TOOLS},
    "ollama": API_TOOLS,
    "openai": API_TOOLS | {"ollama"},
    "anthropic": API_TOOLS | {"ollama"},
    "native": API_TOOLS | {"ollama"},
    "dialects": API_TOOLS | DIALECTS,
    "errors": API_TOOLS | DIALECTS | {"dialects"},
    "access": API_TOOLS | DIALECTS | {"errors"},
    "ops": API_TOOLS | DIALECTS | {"errors", "access"},
    "ui": API_TOOLS | DIALECTS | {"errors", "access"},
}
PLANNED: set[str] = set()  # in the tables, and not written yet

# How many modules there are at least.  A rename that hides modules from this test fails it; raise
# the number as the package grows.
FEWEST_MODULES = 210

# What does no input or output, and the modules of `WORLD` that it may reach nevertheless.
CLOCK = {"time"}
PURE: Mapping[str, set[str]] = {
    "axproxy.api_keys": set(),
    "axproxy.control_tokens": set(),
    "axproxy.durations": set(),
    "axproxy.engine.turns": set(),
    "axproxy.engine.waits": set(),
    "axproxy.errors": set(),
    "axproxy.health": set(),
    "axproxy.messages": set(),
    "axproxy.printable": set(),
    "axproxy.models.model": set(),
    "axproxy.output": CLOCK,
    "axproxy.process.restart": set(),
    "axproxy.process.states": set(),
    "axproxy.prompts": CLOCK,
    "axproxy.settings": set(),
}

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
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imported_by(path: Path) -> frozenset[str]:
    """Everything that a file names in an import, wherever in the file the import is.

    `from a import b` gives both `a` and `a.b`, because `b` may be a module.
    """
    names: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def tops(names: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


MODULES = modules_of("axproxy")
PACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py"]
GRAPH = {name: imported_by(path) & MODULES.keys() - {name} for name, path in MODULES.items()}
REQUESTS_AND_REPLIES = [
    name
    for name in MODULES
    if re.fullmatch(r"axproxy\.api\.(?!http\.)\w+\.(\w+_)?(requests|replies)", name)
]


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


def part_of(module: str, depth: int) -> str:
    """The package or module directly below `axproxy` (depth 1) or below `axproxy.api` (depth 2)."""
    return "".join(module.split(".")[depth : depth + 1])


def outside_the_tables() -> dict[tuple[str, str], set[str]]:
    """The imports that no table allows: importing part, imported part, and each import."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for module, imported in GRAPH.items():
        for other in imported:
            above, below = part_of(module, 1), part_of(other, 1)
            if below and below not in {above, *MAY_IMPORT[above]}:
                found[above, below].add(f"{module} imports {other}")
            if above == below == "api" and (below := part_of(other, 2)):
                above = part_of(module, 2)
                if below not in {above, *API_MAY_IMPORT[above]}:
                    found[f"api.{above}", f"api.{below}"].add(f"{module} imports {other}")
    return found


def test_the_tables_hold_every_module() -> None:
    assert len(MODULES) >= FEWEST_MODULES
    assert {part_of(module, 1) for module in MODULES} - {""} == MAY_IMPORT.keys()
    below_api = {part_of(module, 2) for module in MODULES if module.startswith("axproxy.api.")}
    assert below_api == API_MAY_IMPORT.keys() - PLANNED


def test_no_import_is_outside_the_tables() -> None:
    assert outside_the_tables() == {}


def test_a_runtime_knows_no_other_runtime() -> None:
    packages = {part_of(name, 2) for name in PACKAGES if part_of(name, 1) == "runtimes"} - {""}
    assert len(packages) >= 3
    found = {
        (module, other)
        for module, imported in GRAPH.items()
        for other in imported
        if part_of(module, 1) == part_of(other, 1) == "runtimes"
        and part_of(other, 2) in packages - {part_of(module, 2)}
    }
    assert found == set()


def test_the_package_knows_nothing_of_the_root_nor_of_the_simulator() -> None:
    assert offenders(MODULES.values(), ENTRY_POINTS | {"axmock"}) == {}


def test_the_simulator_knows_nothing_of_the_service() -> None:
    files = [ROOT / "mock_main_api.py", *modules_of("axmock").values()]
    assert offenders(files, {"axproxy"} | ENTRY_POINTS - {"mock_main_api"}) == {}


def test_imports_inside_the_package_point_one_way() -> None:
    order = list(TopologicalSorter(GRAPH).static_order())  # raises CycleError, which shows the ring
    place = {name: at for at, name in enumerate(order)}
    assert set(order) == set(MODULES)
    assert all(place[used] < place[name] for name in GRAPH for used in GRAPH[name])


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_do_no_input_or_output(name: str) -> None:
    modules = [module for module in MODULES if f"{module}.".startswith(f"{name}.")]
    assert modules
    reached = {module: reached_from(module) & WORLD - PURE[name] for module in modules}
    assert {module: world for module, world in reached.items() if world} == {}


def test_every_dialect_has_requests_and_replies() -> None:
    assert {part_of(name, 2) for name in REQUESTS_AND_REPLIES} == DIALECTS
    assert len(REQUESTS_AND_REPLIES) >= 2 * len(DIALECTS)


@pytest.mark.parametrize("name", REQUESTS_AND_REPLIES)
def test_requests_and_replies_of_a_dialect_are_bytes_in_and_bytes_out(name: str) -> None:
    assert reached_from(name) & {"flask", "werkzeug", "requests", "threading", "socket"} == set()


def test_modules_stay_small() -> None:
    files = [*MODULES.values(), *modules_of("axmock").values(), *ROOT.glob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_class_names_are_unique_in_the_package() -> None:
    names = Counter(
        node.name
        for path in MODULES.values()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, times in names.items() if times > 1} == set()


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_what_it_is_about_in_ten_lines_at_most(name: str) -> None:
    manual = ast.get_docstring(tree_of(MODULES[name]))
    assert manual
    assert len(manual.splitlines()) <= 10
