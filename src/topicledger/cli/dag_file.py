"""What a DAG file declares, read without running it: the command looks at what a run would use, without Airflow."""

from __future__ import annotations

import ast
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topicledger.cli.airflow_settings import dags_folder
from topicledger.errors import SettingsError

NAME = "user_etl_dag.py"
_CONSTANTS = (
    "DAG_ID",
    "KAFKA_CONN_ID",
    "WAREHOUSE_CONN_ID",
    "STAGING_CONN_ID",
    "PIPELINE",
    "TOPIC",
    "TABLE",
    "STAGING_DIR",
    "MAX_RECORDS",
)


@dataclass(frozen=True, slots=True)
class DagFile:
    """A DAG file that began as `user_etl_dag.py`.

    Args:
        path: Where it is.
        constants: Its constants that the command needs, by name; only those that are literals.
        unread: The names of the others.
        schedule: The DAG's schedule when it is a text, or an interval of literals; else None.
        events: The default of the param `events`; None when it isn't declared as a literal.
    """

    path: Path
    constants: Mapping[str, Any]
    unread: tuple[str, ...]
    schedule: str | dt.timedelta | None
    events: int | None


def default_path() -> Path:
    """Where Airflow on this machine looks for the shipped DAG file; it need not be there.

    Raises:
        SettingsError: Airflow's configuration file can't be read.
    """
    return dags_folder() / NAME


def read_dag_file(path: Path) -> DagFile:
    """Read a DAG file's declarations. Nothing in it is run.

    Raises:
        SettingsError: It can't be read, or isn't Python.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise SettingsError(f"the DAG file {path} can't be read: {error}. Correct it, or name another one") from error
    assigned = _assigned(tree)
    literals = {name: _literal(node) for name, node in assigned.items()}
    constants = {name: literals[name] for name in _CONSTANTS if literals.get(name, ...) is not ...}
    unread = tuple(name for name in _CONSTANTS if name in assigned and name not in constants)
    dag = next(iter(_calls(tree, "DAG")), None)
    schedule = _keyword(dag, "schedule")
    if isinstance(schedule, ast.Name):
        schedule = assigned.get(schedule.id)
    return DagFile(path, constants, unread, _schedule(schedule), _events(_keyword(dag, "params")))


def _assigned(tree: ast.Module) -> dict[str, ast.expr]:
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and value is not None:
            found |= {target.id: value for target in targets if isinstance(target, ast.Name)}
    return found


def _literal(node: ast.expr | None) -> Any:
    """A literal's value, or the ellipsis for anything else."""
    try:
        return ast.literal_eval(node) if node is not None else ...
    except (ValueError, TypeError):
        return ...


def _calls(tree: ast.AST, name: str) -> list[ast.Call]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if ast.unparse(call.func).rpartition(".")[2] == name]


def _keyword(call: ast.Call | None, name: str) -> ast.expr | None:
    return next((k.value for k in call.keywords if k.arg == name), None) if call is not None else None


def _schedule(node: ast.expr | None) -> str | dt.timedelta | None:
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "timedelta":
        given = {str(k.arg): _literal(k.value) for k in node.keywords}
        numbers = all(isinstance(value, int | float) for value in given.values())
        return dt.timedelta(**given) if numbers and given and not node.args else None
    value = _literal(node)
    return value if isinstance(value, str) else None


def _events(params: ast.expr | None) -> int | None:
    if not isinstance(params, ast.Dict):
        return None
    for key, value in zip(params.keys, params.values, strict=True):
        if _literal(key) == "events":
            default = _literal(value.args[0] if isinstance(value, ast.Call) and value.args else value)
            return default if isinstance(default, int) else None
    return None
