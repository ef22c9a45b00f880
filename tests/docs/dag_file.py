"""What the DAG file declares, read without importing Airflow."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.docs.pages import parsed

TREE = parsed("dags/user_etl_dag.py")


def constants() -> dict[str, str]:
    """Give the public constants, each with its source text."""
    found = {}
    for node in TREE.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        for target in targets:
            if isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_"):
                assert isinstance(node, ast.Assign | ast.AnnAssign)
                assert node.value is not None
                found[target.id] = ast.unparse(node.value)
    return found


def _calls(name: str) -> Iterator[ast.Call]:
    for node in ast.walk(TREE):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name:
            yield node


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def task_ids() -> set[str]:
    """Give the ids of the tasks."""
    operators = [*_calls("PythonOperator"), *_calls("BashOperator")]
    return {ast.literal_eval(value) for call in operators if (value := _keyword(call, "task_id")) is not None}


def params() -> dict[str, object]:
    """Give the params, each with its default."""
    (dag,) = _calls("DAG")
    declared = _keyword(dag, "params")
    assert isinstance(declared, ast.Dict)
    return {
        ast.literal_eval(key): ast.literal_eval(value.args[0])
        for key, value in zip(declared.keys, declared.values, strict=True)
        if key is not None and isinstance(value, ast.Call)
    }


def xcom_keys() -> set[str]:
    """Give the keys that the tasks push."""
    return {ast.literal_eval(value) for call in _calls("xcom_push") if (value := _keyword(call, "key")) is not None}
