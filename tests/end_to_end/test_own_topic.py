"""A topic of one's own: docs/examples/payments_dag.py, as it stands in the documents, is the whole DAG file."""

from __future__ import annotations

import json
from decimal import Decimal

import duckdb
import pytest

from tests.end_to_end.ground import CLEAN_UP, CONSUME, LOAD, RECONCILE, RUN_LIMIT_S, Stack
from tests.support.records import Record, produce
from tests.support.topics import Topics

pytestmark = pytest.mark.airflow

DAG_ID, TOPIC = "payments_to_payments", "payments"
SENT = [
    {"payment_id": "a", "amount": 12.5, "paid_at": "2026-01-01T00:00:00Z"},
    {"payment_id": "b", "amount": 0.1, "paid_at": "2026-01-01T01:00:00+01:00", "note": "cash"},
    {"payment_id": "a", "amount": 13, "paid_at": "2026-01-01T00:00:00Z"},
    {"payment_id": "c", "amount": "NaN", "paid_at": "2026-01-01T00:00:00Z"},
]


def test_an_own_topic_is_one_file(stack: Stack, topics: Topics) -> None:
    """By a real scheduler it loads exact amounts once, keeps what it refuses, and asks for no sign-ups."""
    topics.create(TOPIC, partitions=2)
    try:
        produce(topics.bootstrap, TOPIC, [Record(json.dumps(event).encode()) for event in SENT])
        api = stack.airflow.api
        api.trigger(DAG_ID, {}, run_id="own")
        run = api.wait_for_run(DAG_ID, "own", RUN_LIMIT_S)
        tasks = {task.task_id: task.state for task in api.tasks(DAG_ID, "own")}
        logs = "\n".join(api.log(DAG_ID, "own", task)[-2_000:] for task, state in tasks.items() if state == "failed")
        assert (run.state, set(tasks)) == ("success", {CONSUME, LOAD, CLEAN_UP, RECONCILE}), logs
        accounts = api.xcom(DAG_ID, "own", RECONCILE, "accounts")
        assert [accounts[name] for name in ("records", "loaded", "duplicates", "dead_letters")] == [4, 2, 1, 1]
        file = stack.crash_dir.parent / "home" / "warehouse" / "topicledger.duckdb"
        with duckdb.connect(file, read_only=True) as warehouse:
            rows = warehouse.execute("SELECT payment_id, amount, note FROM payments ORDER BY 1").fetchall()
        assert rows == [("a", Decimal("12.5"), None), ("b", Decimal("0.1"), "cash")]
        assert set(api.call("GET", f"/dags/{DAG_ID}/details")["params"]) == {"accept", "error_budget"}
    finally:
        topics.delete(TOPIC)
