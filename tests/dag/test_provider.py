"""Airflow takes the installed package as a provider and as a plugin."""

from __future__ import annotations

from pathlib import Path

from tests.dag.processes import ENGINE, SITE_PACKAGES, ask
from topicledger import __version__


def test_airflow_takes_provider_and_plugin(tmp_path: Path) -> None:
    """Airflow has the type duckdb with a form of a file's fields, the link and the page; asking imports none of it."""
    took, _ = ask("take_provider.py", [], tmp_path, [ENGINE, SITE_PACKAGES])
    assert took["light"]
    assert took["provider"] == __version__
    assert took["hook"] == ["DuckDB file", "warehouse"]
    assert set(took["form"]["hidden_fields"]) == {"schema", "login", "password", "port", "extra"}
    assert took["form"]["relabeling"] == {"host": "File"}
    assert took["fields"] == ["extra__duckdb__memory_limit"]
    assert took["errors"] == {}
    assert (took["links"], took["pages"]) == (["Books"], ["/topicledger"])
