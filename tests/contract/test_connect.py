"""The choice of the warehouse by its connection."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.contract.batches import pipeline
from topicledger.connection import Connection
from topicledger.errors import SettingsError
from topicledger.warehouse.choice import open_warehouse

BLOCKED = """
import sys
sys.modules["{driver}"] = None
from topicledger.errors import SettingsError
from topicledger.warehouse.choice import open_warehouse
from topicledger.connection import Connection
from tests.contract import batches
try:
    open_warehouse(Connection("w", "{kind}", host="/x"), batches.pipeline())
except SettingsError as error:
    print(error)
"""


def test_an_unknown_type() -> None:
    """The types that work are named."""
    with pytest.raises(SettingsError, match="use 'duckdb', 'postgres', 'snowflake', 'aws' or 'fs'"):
        open_warehouse(Connection("w", "mysql"), pipeline())


@pytest.mark.parametrize(
    ("kind", "driver"), [("duckdb", "duckdb"), ("postgres", "psycopg"), ("snowflake", "snowflake.connector")]
)
def test_a_missing_driver(kind: str, driver: str) -> None:
    """The error has the command that installs it; the other warehouse doesn't need it."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(kind=kind, driver=driver)],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"pip install 'topicledger[{kind}]'" in done.stdout


def test_settings_hide_their_secrets() -> None:
    """The repr has neither the password nor the Extra."""
    shown = repr(Connection("w", "postgres", password="hunter2", extra={"sslpassword": "hunter3"}))
    assert "hunter" not in shown


def test_parquet_is_imported_only_where_it_is_staged() -> None:
    """Staging and loading CSV leave it alone: it takes as much memory as a driver."""
    script = (
        "import sys, kafka_utils, topicledger.steps.load, topicledger.warehouse.duckdb.warehouse\n"
        "print('pyarrow.parquet' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
