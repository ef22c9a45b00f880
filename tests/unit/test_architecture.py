"""The two DAG files stand outside the package that import-linter reads: their imports are held to the same way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

DAGS = Path(__file__).parents[2] / "dags"
DRIVERS = {"confluent_kafka", "duckdb", "psycopg", "psycopg2"}


def imported(tree: ast.AST) -> set[str]:
    """Give the modules that any import statement in the tree names."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def roots(modules: set[str]) -> set[str]:
    """Give the top-level package of each module."""
    return {module.partition(".")[0] for module in modules}


def parsed(name: str) -> ast.Module:
    """Parse one of the two DAG files."""
    return ast.parse((DAGS / name).read_text())


def at_parse(tree: ast.Module) -> set[str]:
    """Give the modules that are imported when the file is executed, not when a task runs."""
    return {
        module
        for statement in tree.body
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for module in imported(statement)
    }


def test_the_kafka_side_knows_neither_airflow_nor_a_driver() -> None:
    """kafka_utils.py reaches Kafka and the warehouse through the engine only."""
    assert not roots(imported(parsed("kafka_utils.py"))) & (DRIVERS | {"airflow"})


def test_the_dag_file_knows_no_driver() -> None:
    """user_etl_dag.py imports no driver, not even inside a task."""
    assert not roots(imported(parsed("user_etl_dag.py"))) & DRIVERS


def test_the_dag_file_imports_the_airflow_side_alone() -> None:
    """At parse user_etl_dag.py imports Airflow, the standard library and topicledger.airflow, which is light."""
    tree = parsed("user_etl_dag.py")
    engine = {m for node in tree.body for m in imported(node) if m.startswith("topicledger")}
    inside = {m for node in tree.body if isinstance(node, ast.FunctionDef) for m in imported(node)}
    assert engine - inside == {"topicledger.airflow"}


@pytest.mark.fault(23, "goes on")
@pytest.mark.parametrize("name", ["kafka_utils.py", "user_etl_dag.py"])
def test_nothing_of_the_metadata_database_is_used(name: str) -> None:
    """Neither file touches Airflow's ORM or settings."""
    assert not {
        module for module in imported(parsed(name)) if module.startswith(("airflow.models", "airflow.settings"))
    }
