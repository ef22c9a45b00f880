"""Bytewax: its KafkaSource, one step that judges, its FileSink twice."""

from __future__ import annotations

import csv
import io
import time

from bytewax import operators
from bytewax.connectors.files import FileSink
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main

from benchmarks.peers.work import REFUSED, Work, cleaned, require_files

_ROWS, _REJECTED = "rows", "rejected"


def run(work: Work) -> float:
    """From the start of the flow, with one worker, to its end, which it finds by itself."""
    flow = Dataflow("sign_ups")
    source = KafkaSource([work.bootstrap], [work.topic], tail=False, batch_size=10_000)
    judged = operators.map("judge", operators.input("read", flow, source), _judged)
    split = operators.branch("split", judged, lambda line: line[0] == _ROWS)
    operators.output("write", split.trues, FileSink(work.rows))
    operators.output("reject", split.falses, FileSink(work.rejected))
    started = time.perf_counter()
    cli_main(flow)
    seconds = time.perf_counter() - started
    require_files(work, headers=(0, 0))
    return seconds


def _judged(message: KafkaSourceMessage[bytes, bytes]) -> tuple[str, str]:
    place = (message.partition, message.offset, message.timestamp[1])
    try:
        return _ROWS, _line((*cleaned(message.value), *place))
    except REFUSED as error:
        return _REJECTED, _line((type(error).__name__, message.value.hex(), *place))


def _line(fields: tuple[object, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()
