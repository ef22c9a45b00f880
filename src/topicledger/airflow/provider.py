"""What Airflow takes from the package as a provider: the connection type `duckdb`, with a form of its own.

The other types that a warehouse may be of have providers: postgres, snowflake, amazon (`aws`), standard (`fs`).
"""

from __future__ import annotations

from typing import Any

from topicledger import __version__

FORM: dict[str, Any] = {
    "hidden-fields": ["schema", "login", "password", "port", "extra"],
    "relabeling": {"host": "File"},
    "placeholders": {"host": "/data/warehouse.duckdb", "memory_limit": "4GB"},
}
"""What of Airflow's form for a connection fits a file."""


def get_provider_info() -> dict[str, Any]:
    """Give what Airflow asks each of its processes for; it imports nothing of Airflow."""
    return {
        "package-name": "topicledger",
        "name": "topicledger",
        "description": "Kafka topics into a warehouse, in batches that close their books.",
        "versions": [__version__],
        "connection-types": [
            {
                "connection-type": "duckdb",
                "hook-class-name": "topicledger.airflow.hook.DuckdbFile",
                "hook-name": "DuckDB file",
                "ui-field-behaviour": FORM,
                "conn-fields": {
                    "memory_limit": {
                        "label": "Memory limit",
                        "description": "Such as 4GB; empty: it grows with what a batch needs, up to 1GB",
                        "schema": {"type": ["string", "null"]},
                    },
                },
            }
        ],
    }
