"""The changes of a table as Debezium sends them, as a log: each change is a row, a delete too."""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from topicledger import Digits, EpochMillis, Json, Pipeline
from topicledger.airflow import ledger_dag


class Change(msgspec.Struct, kw_only=True):
    id: int
    owner: str | None = None
    balance: Annotated[Decimal, Digits(12, 2)] | None = None
    op: Literal["c", "u", "d", "r"] = msgspec.field(name="__op")
    lsn: int = msgspec.field(name="__source_lsn")
    changed_at: EpochMillis = msgspec.field(name="__ts_ms")


CHANGES = Pipeline(topic="changes", event=Change, key=("id", "lsn"), format=Json(envelope="debezium"))
ledger_dag(CHANGES, schedule="@hourly")
