"""The Airflow side, and the only importer of Airflow: what a DAG file needs to run a pipeline.

Its names are loaded when they are asked for: a declaration is read, by the command too, without Airflow's import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from topicledger.airflow.assets import table_asset
    from topicledger.airflow.beside import sibling
    from topicledger.airflow.dags import LEDGER_ARGS, LEDGER_PARAMS
    from topicledger.airflow.ledger import Ledger, ledger_dag
    from topicledger.airflow.run import LedgerRun

__all__ = ["LEDGER_ARGS", "LEDGER_PARAMS", "Ledger", "LedgerRun", "ledger_dag", "sibling", "table_asset"]

_MODULES = {
    "LEDGER_ARGS": "dags",
    "LEDGER_PARAMS": "dags",
    "Ledger": "ledger",
    "LedgerRun": "run",
    "ledger_dag": "ledger",
    "sibling": "beside",
    "table_asset": "assets",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
