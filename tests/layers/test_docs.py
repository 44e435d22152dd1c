"""The manuals match the program: settings, checks, messages, links, tests."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest
from flask import Flask

from axproxy.models.manifest import MANIFEST, read_manifest
from axproxy.preflight.checks import CHECK_NAMES
from axproxy.process.states import as_mermaid
from axproxy.settings import OLLAMA_VARIABLES, Settings, SettingsError
from backend import create_app
from tests.support.sentences import said

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "settings.md").read_text()
SCRIPTS = [ROOT / "backend.service", ROOT / "install.sh", ROOT / "deploy" / "ax650.env"]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
TROUBLES = re.findall(r"^### (.+)$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.M)
MISSPELT = "AX650_PROT"  # the manual's example

KNOWN = {field.metadata["variable"]: field for field in fields(Settings)}


def rows(prefix: str) -> list[list[str]]:
    """Return the cells of every table row about a variable with this prefix."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in MANUAL.splitlines()
        if line.startswith(f"| `{prefix}")
    ]


def test_every_setting_has_a_row_and_no_other_name_has() -> None:
    documented = [row[0].strip("`") for row in rows("AX650_")]
    assert sorted(documented) == sorted(KNOWN)


@pytest.mark.parametrize("row", rows("AX650_"), ids=lambda row: row[0].strip("`"))
def test_a_default_in_the_manual_is_the_programs_default(row: list[str]) -> None:
    variable, default, meaning, when = row
    setting = KNOWN[variable.strip("`")]
    if default == "not set":
        assert setting.default in (None, ())
    else:
        assert setting.metadata["parse"](default.strip("`")) == setting.default
    assert meaning
    assert when


def names_read_from_settings(path: Path) -> set[str]:
    """Return the fields that a module reads from an object called `settings`, or from itself."""
    owners = {"settings", "_settings"} | ({"self"} if path.name == "settings.py" else set())
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and owners & {getattr(node.value, "id", None), getattr(node.value, "attr", None)}
    }


def test_the_manual_lists_the_settings_without_effect() -> None:
    modules = [*ROOT.glob("*.py"), *ROOT.glob("axproxy/**/*.py")]
    read = set().union(*map(names_read_from_settings, modules))
    unread = {variable for variable, field in KNOWN.items() if field.name not in read}
    note = re.search(r"^\*\*Without effect.*?\n\n", MANUAL, re.DOTALL | re.MULTILINE)
    listed = note[0].partition(". So")[0] if note else ""
    assert set(re.findall(r"AX650_[A-Z_]+", listed)) == unread


def test_ollamas_variables_are_listed_with_the_settings_that_they_set() -> None:
    listed = {row[0].strip("`"): set(re.findall(r"AX650_\w+", row[1])) for row in rows("OLLAMA_")}
    variable_of = {field.name: variable for variable, field in KNOWN.items()}
    expected = {name: {variable_of[field]} for name, (field, _) in OLLAMA_VARIABLES.items()}
    expected["OLLAMA_HOST"].add("AX650_PORT")
    assert listed == expected


@pytest.mark.parametrize("environ", [{MISSPELT: "5002"}, {"AX650_PORT": "http"}], ids=str)
def test_the_errors_in_the_manual_are_the_programs_errors(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env(environ)
    assert f"\nbackend: {refusal.value}\n" in MANUAL


def test_no_document_names_a_setting_that_does_not_exist() -> None:
    named = {
        (document.name, variable)
        for document in [*PAGES, *SCRIPTS]
        for variable in re.findall(r"AX650_[A-Z_]*[A-Z]", document.read_text())
    }
    assert {(name, variable) for name, variable in named if variable not in KNOWN} <= {
        ("settings.md", MISSPELT)
    }


def routes_without_a_page(app: Flask) -> set[str]:
    """Return the routes that no page names, whatever the page calls their parameters."""
    pages = re.sub(r"<\w+>", "<>", "\n".join(page.read_text() for page in PAGES))
    routes = {re.sub(r"<.*?>", "<>", rule.rule) for rule in app.url_map.iter_rules()}
    return {
        rule for rule in routes if not re.search(rf"(?<![\w/]){re.escape(rule)}(?![\w/])", pages)
    }


def test_every_route_is_on_a_page() -> None:
    app = create_app(Settings())
    assert routes_without_a_page(app) == set()
    app.add_url_rule("/api/brand-new/<name>", "new", lambda name: name)
    assert routes_without_a_page(app) == {"/api/brand-new/<>"}


def test_every_check_before_the_start_is_in_the_manual() -> None:
    section = MANUAL.partition("## Checks before the start")[2].partition("\n## ")[0]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert re.findall(r"`([a-z-]+)`", " ".join(first_cells)) == list(CHECK_NAMES)


def test_every_key_of_the_manifest_is_in_the_manual(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", MANUAL, re.DOTALL)
    (tmp_path / MANIFEST).write_text(example)
    manifest = read_manifest(tmp_path)
    assert None not in [getattr(manifest, field.name) for field in fields(manifest)]


def test_the_diagram_in_the_manual_matches_the_table() -> None:
    text = (ROOT / "docs" / "how-it-works.md").read_text()
    assert re.findall(r"```mermaid\n(.*?)\n```", text, re.DOTALL) == [as_mermaid()]


def test_every_test_named_on_the_reliability_page_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "reliability.md").read_text()))
    sources = [path.read_text() for path in ROOT.glob("tests/**/test_*.py")]
    written = set(re.findall(r"^def (test_\w+)", "\n".join(sources), re.MULTILINE))
    assert named
    assert named - written == set()


@pytest.mark.parametrize("heading", TROUBLES)
def test_every_heading_on_the_troubleshooting_page_is_printed_by_the_program(heading: str) -> None:
    assert said(heading)


def test_a_heading_that_the_program_does_not_print_would_be_found() -> None:
    assert len(TROUBLES) > 20
    assert not said("the frobnicator is not there")
    assert not said("The manuals match the program")


def anchors(page: Path) -> set[str]:
    """Return the link targets in a page, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_between_the_pages_has_a_target() -> None:
    links = [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text())
    ]
    assert links
    for page, target in links:
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), (page.name, target)
        assert not anchor or anchor in anchors(linked), (page.name, target)


def test_the_warning_about_cma_is_where_people_edit_boot_options() -> None:
    text = (ROOT / "docs" / "hardware.md").read_text()
    never = [line for line in text.splitlines() if "cma=" in line and "never" in line]
    assert never
    assert not re.search(r"^[^|]*tee.*cma=", text, re.MULTILINE)
