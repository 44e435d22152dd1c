"""Reads from a chat template's source what it does with an assistant's text."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import Environment, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser


class GenerationBlock(Extension):
    """Hugging Face's `{% generation %}`, which marks an assistant's words for training only."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return what is inside the block, as if the tags were not there."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def searched_texts(environment: Environment, source: str) -> tuple[str, ...]:
    """Return the texts that the template looks for in others: `split('</think>')`, `'x' in y`.

    Raises `jinja2.TemplateError`.
    """
    tree = environment.parse(source)
    return tuple(found.value for found in _searched(tree) if isinstance(found.value, str))


def expects_no_content(environment: Environment, source: str) -> bool:
    """Return whether the template asks if a turn's content `is none`, as it is beside tool calls.

    Raises `jinja2.TemplateError`.
    """
    tests = environment.parse(source).find_all(nodes.Test)
    return any(test.name == "none" and _is_content(test.node) for test in tests)


def _searched(tree: nodes.Template) -> Iterator[nodes.Const]:
    for compared in tree.find_all(nodes.Compare):
        if any(operand.op in ("in", "notin") for operand in compared.ops):
            yield from compared.find_all(nodes.Const)
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Getattr):
            for argument in call.args:
                yield from _constants(argument)
    for filtered in tree.find_all(nodes.Filter):
        if filtered.name == "replace":
            for argument in filtered.args:
                yield from _constants(argument)


def _constants(argument: nodes.Node) -> Iterator[nodes.Const]:
    if isinstance(argument, nodes.Const):
        yield argument
    yield from argument.find_all(nodes.Const)


def _is_content(node: nodes.Node) -> bool:
    match node:
        case nodes.Getattr(attr="content") | nodes.Getitem(arg=nodes.Const(value="content")):
            return True
        case nodes.Name(name="content"):
            return True
    return False
