"""The sentences of the engine's errors, as templates: every value in them becomes `<>`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.docs.pages import parsed, sources

ERRORS = {"SettingsError", "RetriableError", "IntegrityError", "ImportError", "SystemExit", "BadParameter"}


def template(node: ast.expr | None) -> str:
    """Give the template of an expression that makes a text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[-.\d]*[sdfr]", "<>", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(template(value) for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    return "<>"


def all_templates() -> list[str]:
    """Give the templates of all texts in dags/ and src/."""
    return [
        template(node)
        for name in sources()
        for node in ast.walk(parsed(name))
        if isinstance(node, ast.JoinedStr | ast.Constant | ast.BinOp) and template(node) != "<>"
    ]


def raised() -> Iterator[tuple[str, list[str]]]:
    """Give every place where an error is made, with the templates that its message may have."""
    for name in sources():
        module = parsed(name)
        functions = {node.name: node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)}
        for scope in [*functions.values(), module]:
            for node in _own(scope):
                if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ERRORS and node.args:
                    found = _templates(node.args[0], scope, functions)
                    if found is not None:
                        yield f"{name}:{node.lineno}", found


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
