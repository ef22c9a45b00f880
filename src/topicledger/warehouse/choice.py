"""Chooses the warehouse by the connection's type. Its driver is imported here and only when it is chosen."""

from __future__ import annotations

from topicledger.connection import Connection
from topicledger.errors import SettingsError
from topicledger.pipeline import Pipeline
from topicledger.warehouse.contract import Warehouse

_EXTRAS = {"duckdb": "duckdb", "postgres": "postgres", "snowflake": "snowflake", "aws": "s3", "fs": "s3"}
"""The package's extra that brings the drivers of a connection's type."""


def open_warehouse(settings: Connection, pipeline: Pipeline) -> Warehouse:
    """Return the pipeline's tables in the warehouse that the connection names. Nothing is connected to yet.

    Raises:
        SettingsError: The type is unknown, its driver isn't installed, or a field can't work.
    """
    try:
        if settings.conn_type == "postgres":
            from topicledger.warehouse.postgres.warehouse import postgres

            return postgres(settings, pipeline)
        if settings.conn_type == "duckdb":
            from topicledger.warehouse.duckdb.warehouse import duckdb_file

            return duckdb_file(settings, pipeline)
        if settings.conn_type == "snowflake":
            from topicledger.warehouse.snowflake.warehouse import snowflake_account

            return snowflake_account(settings, pipeline)
        if settings.conn_type == "aws":
            from topicledger.warehouse.lake.places import s3_bucket

            return s3_bucket(settings, pipeline)
        if settings.conn_type == "fs":
            from topicledger.warehouse.lake.places import local_folder

            return local_folder(settings, pipeline)
    except ImportError as error:
        raise SettingsError(
            f"connection {settings.conn_id} is of type {settings.conn_type}, whose driver can't be imported "
            f"({error}): pip install 'topicledger[{_EXTRAS[settings.conn_type]}]'",
            code="driver-missing",
        ) from error
    raise SettingsError(
        f"connection {settings.conn_id} is of type {settings.conn_type!r}: use 'duckdb', 'postgres', 'snowflake', "
        "'aws' or 'fs'. Where Airflow's command made it generic, define it as JSON: "
        f"airflow connections add {settings.conn_id} --conn-json "
        """'{"conn_type": "duckdb", "host": "/path/to/file.duckdb"}'""",
        code="warehouse-type-unknown",
    )
