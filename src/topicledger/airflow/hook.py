"""The class by which Airflow knows the connection type `duckdb`; tasks open the warehouse themselves."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import BaseHook

from topicledger.airflow.provider import FORM


class DuckdbFile(BaseHook):
    """A DuckDB file. Only a worker can try it, on its own disk: `topicledger check` does."""

    conn_name_attr = "warehouse"
    default_conn_name = "warehouse_default"
    conn_type = "duckdb"
    hook_name = "DuckDB file"

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Give the fields that Airflow 2.11's form adds; on 3 the provider's description says them."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import StringField

        return {"memory_limit": StringField("Memory limit", widget=BS3TextFieldWidget())}

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Give what Airflow 2.11's form hides and renames; on 3 the provider's description says it."""
        return {name.replace("-", "_"): value for name, value in FORM.items()}
