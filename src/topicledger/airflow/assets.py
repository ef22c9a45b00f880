"""The rows table as an asset of Airflow, so that another DAG can be scheduled on it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import Asset
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS


def table_asset(table: str, warehouse: str = "warehouse_default") -> Any:
    """Give the asset that the load of a ledger updates; each of its events carries the batch's accounts as extra.

    It is the same wherever it is made: named `<warehouse>.<table>`, at `x-topicledger://<warehouse>/<table>`. On
    Airflow 2.11 it is a Dataset, which has the URI alone.

    Args:
        table: The rows table, as the pipeline declares it.
        warehouse: Id of the warehouse's connection.
    """
    # Of another scheme Airflow would import every provider for its check, at each parsing of a DAG file.
    uri = f"x-topicledger://{quote(warehouse)}/{quote(table)}"
    return Asset(name=f"{warehouse}.{table}", uri=uri) if AIRFLOW_V_3_0_PLUS else Asset(uri)
