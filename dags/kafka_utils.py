"""The Kafka side of `robust_kafka_etl_pipeline`, under the name that its users know. No Airflow in it.

Connecting with retries, counting every delivery report, reading exactly the planned offsets: the steps themselves are
`topicledger.steps.produce` (1 and 2) and `topicledger.steps.consume` (3 to 12), for this pipeline and any other.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from typing import Any

from topicledger.simulation import simulate
from topicledger.staged_files.receipts import pushed_receipt, received_receipt
from topicledger.steps import consume, produce
from topicledger.steps.consume import StagedResult
from topicledger.steps.run import Run

log = logging.getLogger(__name__)


def produce_signups(run: Run, params: Mapping[str, Any], at: dt.datetime) -> dict[str, Any] | None:
    """Simulate the run's sign-ups and produce them; every attempt of a run produces the same.

    Args:
        run: The run.
        params: `events`, how many; `malformed`, the share of bad ones; `seed`.
        at: The run's own time.

    Returns:
        The receipt, as it is handed to `consume_batch`; None where `events` is 0.

    Raises:
        TopicLedgerError: As `topicledger.steps.produce.produce_batch`.
    """
    if params["events"] == 0:
        log.info("events is 0: nothing is produced; the run consumes what others produced")
        return None
    records = simulate(
        params["events"], malformed=params["malformed"], seed=params["seed"], run_key=run.batch_id, at=at
    )
    return pushed_receipt(produce.produce_batch(run, records), run.staging, run.batch_id)


def consume_batch(run: Run, receipt: dict[str, Any] | None, *, produced: bool) -> StagedResult:
    """Consume everything new up to a fixed end, and stage it; only then commit the offsets of the run's own group.

    Args:
        run: The run.
        receipt: What `produce_signups` handed on.
        produced: Whether the run was to produce anything: then a missing receipt is an error.

    Raises:
        TopicLedgerError: As `topicledger.steps.consume.consume_batch`.
    """
    return consume.consume_batch(run, received_receipt(receipt, run.staging, run.batch_id, expected=produced))
