"""What Airflow takes from the package as a plugin: the link from a task to its run's books, and the page behind it.

Every process of Airflow loads plugins: what only a server of pages needs is imported there.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import AirflowPlugin, BaseOperatorLink, conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

PREFIX = "/topicledger"


class BooksLink(BaseOperatorLink):
    """The link "Books" of a task, to the report of its run."""

    name = "Books"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Give the page's address on the host that shows Airflow, below the path that Airflow has there."""
        below = urlsplit(conf.get("api" if AIRFLOW_V_3_0_PLUS else "webserver", "base_url", fallback="")).path
        return f"{below.rstrip('/')}{PREFIX}/books/{quote(ti_key.dag_id)}/{quote(ti_key.run_id, safe='')}"


class TopicledgerPlugin(AirflowPlugin):
    """The plugin."""

    name = "topicledger"
    operator_extra_links = [BooksLink()]  # noqa: RUF012 - Airflow's own attribute; only by it 2.11 knows the class

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override] # made when it is asked for
        """The page on Airflow 3."""
        from topicledger.airflow.pages import fastapi_app

        return [{"app": fastapi_app(), "url_prefix": PREFIX, "name": "topicledger"}] if AIRFLOW_V_3_0_PLUS else []

    @cached_property
    def flask_blueprints(self) -> list[Any]:  # type: ignore[override]
        """The page on Airflow 2."""
        from topicledger.airflow.pages import flask_blueprint

        return [] if AIRFLOW_V_3_0_PLUS else [flask_blueprint(PREFIX)]
