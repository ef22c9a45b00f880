"""Serves the report of a DAG run to those who may see the DAG; on Airflow 3 by FastAPI, on 2.11 by Flask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.configuration import AIRFLOW_HOME

from topicledger.report.files import report_path

REPORTS = Path(AIRFLOW_HOME, "topicledger", "reports")
"""Where the reconcile task writes reports, and this page looks for them."""


def fastapi_app() -> Any:
    """Make the application. Whoever isn't logged in gets 401, who may not see the DAG's runs 403."""
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api.security import requires_access_dag
    from fastapi import Depends, FastAPI, Response

    app = FastAPI(title="topicledger", openapi_url=None)
    may_see = Depends(requires_access_dag("GET", DagAccessEntity.RUN))

    @app.get("/books/{dag_id}/{run_id:path}", dependencies=[may_see])
    def books(dag_id: str, run_id: str) -> Any:
        text, status, headers = _answer(dag_id, run_id)
        return Response(text, status, headers)

    return app


def flask_blueprint(prefix: str) -> Any:
    """Make the blueprint. Whoever isn't logged in is sent to the login, who may not see the DAG's runs away."""
    from airflow.auth.managers.models.resource_details import DagAccessEntity
    from airflow.www.auth import has_access_dag
    from flask import Blueprint

    blueprint = Blueprint("topicledger", __name__, url_prefix=prefix)

    @blueprint.get("/books/<dag_id>/<path:run_id>")
    @has_access_dag("GET", DagAccessEntity.RUN)  # type: ignore[untyped-decorator, unused-ignore] # 2.11's
    def books(dag_id: str, run_id: str) -> Any:
        return _answer(dag_id, run_id)

    return blueprint


def _answer(dag_id: str, run_id: str) -> tuple[str, int, dict[str, str]]:
    path = report_path(REPORTS, dag_id, run_id)
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    try:
        # The page allows itself no more; said once more by the server, for what else could lie there.
        policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return path.read_text("utf-8"), 200, {**headers, **policy, "Content-Type": "text/html; charset=utf-8"}
    except OSError:
        said = (
            f"There is no report of the run {run_id} of {dag_id} on this server.\n\n"
            f"reconcile_batch writes it, on the worker's disk: {path}\n"
            "Once that task has run, `topicledger accounts` shows the same books, from the warehouse.\n"
        )
        return said, 404, {**headers, "Content-Type": "text/plain; charset=utf-8"}
