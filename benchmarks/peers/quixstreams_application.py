"""Quix Streams: an application with one step that judges, and its CSVSink twice."""

from __future__ import annotations

import time
from typing import Any

from quixstreams import Application
from quixstreams.sinks.core.csv import CSVSink

from benchmarks.peers.work import COLUMNS, REFUSED, Work, cleaned, require_files


def run(work: Work) -> float:
    """From `run` on, to as many records as it is told."""
    application = Application(
        work.bootstrap,
        consumer_group=work.group,
        auto_offset_reset="earliest",
        state_dir=work.folder / "state",
        loglevel="ERROR",
    )
    topic = application.topic(work.topic, key_deserializer="bytes", value_deserializer="bytes")
    judged = application.dataframe(topic).apply(_judged)
    judged.filter(lambda fields: "error" not in fields).sink(CSVSink(str(work.rows)))
    judged.filter(lambda fields: "error" in fields).sink(CSVSink(str(work.rejected)))
    started = time.perf_counter()
    application.run(count=work.records, collect=False)
    seconds = time.perf_counter() - started
    require_files(work, headers=(1, 1))
    return seconds


def _judged(value: bytes) -> dict[str, Any]:
    try:
        *fields, signed_up_at, email_domain, date = cleaned(value)
    except REFUSED as error:
        return {"error": type(error).__name__, "value": value.hex()}
    return dict(zip(COLUMNS, (*fields, signed_up_at, email_domain, date.isoformat()), strict=True))
