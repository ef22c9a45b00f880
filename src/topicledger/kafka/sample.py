"""The newest records of a topic, for whoever looks at it before a run does: read, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

from topicledger.kafka.reader import RangeReader
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.plan import Plan, PlannedRange
from topicledger.model.planning import TopicState, shared_out
from topicledger.model.records import Chunk

_ROUNDS = 8
"""Each goes back twice as far as the one before: where one offset in a hundred is a record, a few do."""


def newest_records(
    settings: KafkaSettings, state: TopicState, count: int, group_id: str, idle_s: float = 20.0
) -> Iterator[Chunk]:
    """Read the newest records of a topic, as evenly of all partitions as they have them.

    Bounded before it begins: up to the last stable offset of `state`, read_committed. Nothing is committed and no
    group is joined, so that nobody can tell afterwards. Where offsets hold no record (compacted, aborted, markers)
    it reads further back, and may then give some more than `count`; it gives fewer where there are fewer.

    Args:
        settings: The connection.
        state: The topic, as `TopicObserver.state` has it.
        count: How many records.
        group_id: A consumer group's name that this user may use, since librdkafka wants one.
        idle_s: Without any progress for so long, the read fails.

    Yields:
        Chunks, none of them empty; in each partition's part of a chunk offsets ascend, later chunks may be older.

    Raises:
        RetriableError: The broker doesn't answer, or an offset was deleted meanwhile.
        SettingsError: A grant is missing or the credentials are wrong.
    """
    ends = {marks.partition: marks.last_stable for marks in state.partitions}
    missing = count
    for spread in range(_ROUNDS):
        available = {m.partition: max(0, ends[m.partition] - m.low) for m in state.partitions}
        if missing <= 0 or not any(available.values()):
            return
        starts = {p: ends[p] - share for p, share in shared_out(available, missing << spread).items()}
        ranges = tuple(PlannedRange(p, start, ends[p], start, None, 0) for p, start in starts.items())
        with RangeReader(settings, Plan("", state.topic, state.topic_id, ranges), group_id, idle_s=idle_s) as reader:
            for chunk in reader.chunks():
                missing -= len(chunk.values)
                if chunk.values:
                    yield chunk
        ends = starts
