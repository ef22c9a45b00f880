"""An hourly batch of the topic `payments` into the table `payments`: this file is all of it."""

import datetime as dt
from decimal import Decimal

import msgspec

from topicledger import Pipeline
from topicledger.airflow import ledger_dag


class Payment(msgspec.Struct):
    payment_id: str
    amount: Decimal
    paid_at: dt.datetime
    note: str | None = None


PAYMENTS = Pipeline(topic="payments", event=Payment, key="payment_id")
ledger_dag(PAYMENTS, schedule="@hourly")
