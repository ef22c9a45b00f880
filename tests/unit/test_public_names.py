"""The public names: sorted, all there, loaded only when they are used, and each in the documents."""

from __future__ import annotations

import subprocess
import sys

import topicledger
import topicledger.airflow
from tests.docs.pages import ROOT


def test_all_are_there() -> None:
    """Each name of `__all__` can be had; there is no other that looks public."""
    assert topicledger.__all__ == sorted(topicledger.__all__)
    for name in topicledger.__all__:
        assert getattr(topicledger, name).__module__.startswith("topicledger") or name.startswith("Epoch")
    assert topicledger.airflow.__all__ == sorted(topicledger.airflow.__all__)
    assert not hasattr(topicledger, "Pipelines")


def test_importing_costs_nothing() -> None:
    """Neither package imports Airflow, a client, Arrow or msgspec."""
    program = "import sys, topicledger, topicledger.airflow; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"airflow", "confluent_kafka", "pyarrow", "msgspec", "duckdb", "psycopg"}


def test_each_is_documented() -> None:
    """A page or the README names each of them."""
    text = "\n".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    names = [*topicledger.__all__, *topicledger.airflow.__all__]
    assert [name for name in names if f"`{name}" not in text and f"{name}(" not in text] == []
