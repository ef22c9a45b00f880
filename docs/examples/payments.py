"""The worked example of docs/own-pipeline.md: card payments from the topic `payments`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from topicledger.columns import Column
from topicledger.event_fields import columns_of
from topicledger.pipeline import Check, Pipeline


class Payment(msgspec.Struct, frozen=True, gc=False):
    """One payment as its producers send it: JSON in UTF-8, amounts in cents."""

    payment_id: str
    account_id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    amount_cents: Annotated[int, msgspec.Meta(ge=-(10**12), le=10**12)]
    currency: Literal["EUR", "GBP", "USD"]
    paid_at: Annotated[dt.datetime, msgspec.Meta(tz=True)]
    note: str | None = None


def clean(columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """Trim the note, and derive `paid_date` in UTC and `is_refund`."""
    cleaned = dict(columns)
    cleaned["note"] = pc.utf8_trim_whitespace(columns["note"])
    cleaned["paid_date"] = pc.cast(columns["paid_at"], pa.date32(), safe=False)
    cleaned["is_refund"] = pc.less(columns["amount_cents"], 0)
    return cleaned


PAYMENTS = Pipeline(
    topic="payments",
    event=Payment,
    key="payment_id",
    table="finance.payments",
    name="payments_to_warehouse",
    columns=columns_of(Payment, Column("payment_id", "uuid"), Column("paid_date", "date"), Column("is_refund", "bool")),
    clean=clean,
    checks=(Check("note", r"(?s)^.{0,500}$", "is longer than 500 characters"),),
)
