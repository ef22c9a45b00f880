"""The sentences of the engine's errors, as templates: every value in them becomes `<>`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.docs.pages import parsed, sources

OURS = {"TopicLedgerError", "SettingsError", "RetriableError", "IntegrityError"}
ERRORS = OURS | {"ImportError", "SystemExit", "BadParameter"}


@dataclass(frozen=True)
class Made:
    """A place where an error is made."""

    place: str
    code: str | None
    """The error's code; None where it isn't written there."""
    messages: list[str]
    """The templates that its message may have."""


def template(node: ast.expr | None) -> str:
    """Give the template of an expression that makes a text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[-.\d]*[sdfr]", "<>", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(template(value) for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
        return _constants().get(node.value.id, "<>")
    return "<>"


@cache
def _constants() -> dict[str, str]:
    """Every text that a module has a name for."""
    assigned = [node for name in sources() for node in parsed(name).body if isinstance(node, ast.Assign)]
    named = [(node.targets[0], node.value) for node in assigned]
    return {
        name.id: value.value
        for name, value in named
        if isinstance(name, ast.Name)
        and name.id.isupper()
        and isinstance(value, ast.Constant)
        and isinstance(value.value, str)
    }


def all_templates() -> list[str]:
    """Give the templates of all texts in dags/ and src/."""
    return [
        template(node)
        for name in sources()
        for node in ast.walk(parsed(name))
        if isinstance(node, ast.JoinedStr | ast.Constant | ast.BinOp) and template(node) != "<>"
    ]


def made() -> Iterator[Made]:
    """Give every place where an error is made."""
    for name in sources():
        module = parsed(name)
        scopes = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
        functions = {node.name: node for node in scopes}
        for scope in [*scopes, module]:
            for node in _own(scope):
                if isinstance(node, ast.Call) and (kind := ast.unparse(node.func).rpartition(".")[2]) in ERRORS:
                    found = _templates(node.args[0], scope, functions) if node.args else None
                    if found is not None:
                        yield Made(f"{name}:{node.lineno}", _code(node) if kind in OURS else _written_out(found), found)


def _code(node: ast.Call) -> str | None:
    given = next((keyword.value for keyword in node.keywords if keyword.arg == "code"), None)
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else None


def _written_out(messages: list[str]) -> str | None:
    """The code of an error that isn't ours, whose message has it at its end."""
    ends = [re.search(r"\[([^]]*)\]$", message) for message in messages]
    return ends[0][1] if ends and ends[0] else None


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """Walk a scope without the functions inside of it."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, ast.FunctionDef):
            yield child
            yield from _own(child)


def _templates(message: ast.expr, scope: ast.AST, functions: dict[str, ast.FunctionDef]) -> list[str] | None:
    if isinstance(message, ast.Constant) and not isinstance(message.value, str):
        return None  # an exit status
    if isinstance(message, ast.Name):
        values = [
            node.value
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == message.id
        ]
        return [template(value) for value in values]
    if isinstance(message, ast.Call) and isinstance(message.func, ast.Name) and message.func.id in functions:
        returns = ast.walk(functions[message.func.id])
        return [template(node.value) for node in returns if isinstance(node, ast.Return)]
    return [template(message)]
