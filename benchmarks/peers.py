"""Others at the same work: read the topic, judge each record, clean it up, write CSV, keep what is malformed.

They stop at what they do: no ledger, no checksum, no books; where the end is they are told.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.ground import Setting

_FIELDS = ("event_id", "user_id", "username", "email", "full_name", "country", "plan", "source", "marketing_opt_in")
_HEADER = (*_FIELDS, "signed_up_at", "email_domain", "signup_date", "partition", "offset", "timestamp")


def airflow_operator(setting: Setting) -> float:
    """Airflow's ConsumeFromTopicOperator, with `json` and `csv` in its callback, as its documentation shows it."""
    connection = {
        "conn_type": "kafka",
        "extra": {
            "bootstrap.servers": setting.bootstrap,
            "group.id": f"operator-{Path(setting.folder).name}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        },
    }
    os.environ["AIRFLOW_CONN_KAFKA_DEFAULT"] = json.dumps(connection)
    os.environ["AIRFLOW_HOME"] = setting.folder
    from airflow.providers.apache.kafka.operators.consume import ConsumeFromTopicOperator

    folder = Path(setting.folder)
    with (folder / "rows.csv").open("w", newline="") as rows, (folder / "bad.csv").open("w", newline="") as bad:
        good_writer, bad_writer = csv.writer(rows), csv.writer(bad)
        good_writer.writerow(_HEADER)
        operator = ConsumeFromTopicOperator(
            task_id="consume",
            topics=[setting.topic],
            apply_function_batch=lambda messages: _write(messages, good_writer.writerow, bad_writer.writerow),
            max_messages=setting.records,
            max_batch_size=10_000,
            poll_timeout=5,
        )
        started = time.perf_counter()
        operator.execute({})
        seconds = time.perf_counter() - started
    _require_all(folder, setting.records)
    return seconds


def _write(messages: Sequence[Any], good: Callable[[Sequence[Any]], Any], bad: Callable[[Sequence[Any]], Any]) -> None:
    for message in messages:
        value = message.value()
        place = (message.partition(), message.offset(), message.timestamp()[1])
        try:
            good((*_cleaned(json.loads(value)), *place))
        except (ValueError, KeyError, TypeError) as error:
            bad((type(error).__name__, value.hex(), *place))


def _cleaned(event: dict[str, Any]) -> tuple[Any, ...]:
    """The shipped pipeline's rules, as one would write them by hand."""
    email = event["email"].strip().lower()
    at = datetime.fromisoformat(event["signed_up_at"])
    if email.count("@") != 1 or at.tzinfo is None or not event["username"].strip() or len(event["country"]) != 2:
        raise ValueError(email)
    if not isinstance(event["user_id"], int) or len(event["event_id"]) != 36 or event["plan"] not in _PLANS:
        raise TypeError(event["user_id"])
    at = at.astimezone(UTC)
    full_name = event.get("full_name")
    fields = (event["event_id"], event["user_id"], event["username"].strip(), email, full_name and full_name.strip())
    kinds = (event["country"], event["plan"], event["source"], event["marketing_opt_in"])
    return (*fields, *kinds, at.isoformat(), email.partition("@")[2], at.date())


_PLANS = frozenset(["free", "pro", "team"])


def _require_all(folder: Path, records: int) -> None:
    with (folder / "rows.csv").open() as rows, (folder / "bad.csv").open() as bad:
        found = sum(1 for _ in csv.reader(rows)) - 1 + sum(1 for _ in csv.reader(bad))
    if found != records:
        raise ValueError(f"{found} of {records} records")
