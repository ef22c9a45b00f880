"""Clicks: they have no key, so none is a duplicate; whatever else they carry is kept, as one column of JSON."""

import datetime as dt

import msgspec
from topicledger import Pipeline
from topicledger.airflow import ledger_dag


class Click(msgspec.Struct):
    session: str
    url: str
    at: dt.datetime
    user_id: int | None = None


ledger_dag(Pipeline(topic="clicks", event=Click, keep=("unknown",)), schedule="@hourly")
