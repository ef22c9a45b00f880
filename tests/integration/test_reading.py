"""The read of a plan: silence is no end, and jumps are read again one after another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any

import pytest

from tests.support.records import Record, aborted, sign_ups
from tests.support.steps import Case, OneRun
from topicledger.errors import IntegrityError, RetriableError
from topicledger.kafka.fetching import FETCH_BYTES
from topicledger.kafka.reader import RangeReader
from topicledger.kafka.settings import QUEUED_BYTES
from topicledger.model.plan import Plan, PlannedRange
from topicledger.model.records import Chunk

WIDE = b"x" * 900_000


def test_a_lost_record_behind_a_longer_jump(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that the reader lost is found although a longer jump of its partition, an empty one, comes first."""
    case = duckdb_case
    aborted(case.topics.bootstrap, case.topic, sign_ups(range(100, 110)))
    case.send(sign_ups(range(5)))
    lost = 13
    honest = RangeReader._take

    def losing(reader: RangeReader, records: Sequence[Any]) -> Sequence[Any]:
        return honest(reader, [record for record in records if record.offset() != lost])

    monkeypatch.setattr(RangeReader, "_take", losing)
    with pytest.raises(IntegrityError, match="The reader lost it") as refused:
        OneRun(case).consume()
    assert (refused.value.partition, refused.value.offset) == (0, lost)


def test_silence_before_the_end_is_no_end(duckdb_case: Case) -> None:
    """Where nothing comes before the planned end the read fails, and names where it stood and where the end is."""
    case = duckdb_case
    case.send(sign_ups(range(3)))
    ranges = tuple(PlannedRange(p, 0, 5, 0, leader_epoch=None, generation=0) for p in (0, 1))
    plan = Plan("main.t", case.topic, case.topics.topic_id(case.topic), ranges)
    behind = r"nothing came .* partition 0 at 3, ends at 5; partition 1 at 0"
    with (
        RangeReader(case.kafka, plan, "reader", idle_s=0.5) as reader,
        pytest.raises(RetriableError, match=behind) as said,
    ):
        list(reader.chunks())
    assert (said.value.partition, said.value.offset) == (0, 3)


@pytest.mark.fault(107, "goes on")
@pytest.mark.parametrize(("key", "headers"), [(None, [("h", WIDE)]), (None, [("h" * len(WIDE), b"")]), (WIDE, [])])
def test_keys_and_headers_count(duckdb_case: Case, key: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    """A chunk is bounded by all bytes of its records, and few of such records wait in the client's queue."""
    case = duckdb_case
    case.send(Record(b"small") for _ in range(300))
    case.send([Record(b"?", key, headers=headers)] * 40)
    plan = Plan("main.t", case.topic, case.topics.topic_id(case.topic), (PlannedRange(0, 0, 340, 0, None, 0),))
    chunks: list[int] = []
    offsets: list[int] = []
    with RangeReader(case.kafka, plan, "reader") as reader:
        for chunk in reader.chunks():
            chunks.append(sum(map(_size_bytes, repeat(chunk), range(len(chunk.values)))))
            offsets.extend(chunk.offsets)
        queued = reader._fetcher._queued
    assert offsets == list(range(340))
    assert max(chunks) < 2 * FETCH_BYTES
    assert queued * len(WIDE) < QUEUED_BYTES


def _size_bytes(chunk: Chunk, index: int) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in chunk.headers(index))
    return len(chunk.values[index] or b"") + len(chunk.key(index) or b"") + headers
