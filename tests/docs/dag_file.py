"""What the DAG file declares, read without importing Airflow."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.docs.pages import parsed

TREE = parsed("dags/user_etl_dag.py")
_SHARED = parsed("src/topicledger/airflow/dags.py")
_RUN = parsed("src/topicledger/airflow/run.py")


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
    (shared,) = (
        node.value
        for node in _SHARED.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "LEDGER_PARAMS"
    )
    found: dict[str, object] = {}
    for declared in (_keyword(dag, "params"), shared):
        assert isinstance(declared, ast.Dict)
        found |= {
            ast.literal_eval(key): ast.literal_eval(value.args[0])
            for key, value in zip(declared.keys, declared.values, strict=True)
            if key is not None and isinstance(value, ast.Call)
        }
    return found


def xcom_keys() -> set[str]:
    """Give the keys that the tasks push."""
    calls = [node for tree in (TREE, _RUN) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {str(k.arg) for call in calls if ast.unparse(call.func).endswith(".push") for k in call.keywords}
