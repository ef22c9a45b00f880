"""Steps 8, 9 and 11 over one slice of a plan, and step 12 up to its part of the manifest."""

from __future__ import annotations

from dataclasses import dataclass

from topicledger.connection import Connection
from topicledger.crash_points import crash_point
from topicledger.cycle_search import seldom_collected
from topicledger.events.event_types import staged_schema
from topicledger.events.judge import Judge
from topicledger.kafka.reader import RangeReader
from topicledger.kafka.registry import registry_schemas
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.manifest import StagedFile
from topicledger.model.plan import OffsetRange, Plan, Receipt
from topicledger.pipeline import Pipeline
from topicledger.staged_files.root import StagingRoot
from topicledger.staged_files.writer import PartWriter
from topicledger.steps.stage import Stager, stage_jumps


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice of a plan, with all that whoever stages it needs to know; it pickles where the pipeline does.

    Args:
        kafka: The connection.
        root: Where it is staged.
        pipeline: The pipeline.
        plan: What to read.
        group_id: The run's own consumer group.
        receipt: What the run produced, when the plan contains all of it; its records are then counted.
        stem: The stem of its files; nobody else's.
        registry: The schema registry, for a format that asks one.
    """

    kafka: KafkaSettings
    root: StagingRoot
    pipeline: Pipeline
    plan: Plan
    group_id: str
    receipt: Receipt | None
    stem: str
    registry: Connection | None


def stage_slice(work: Slice) -> StagedFile:
    """Read every record of a slice, judge it and stage it, chunk by chunk.

    What a failure leaves is removed with the attempt, see `topicledger.staged_files.writer.removed_unless_whole`.

    Returns:
        The staged file with its part of the manifest: all that has to be handed on.

    Raises:
        RetriableError: Broker or disk fail, an offset went out of range, or nothing came.
        IntegrityError: The log was truncated below the ledger's position.
        SettingsError: A grant is missing, credentials are wrong, or the pipeline's clean-up fails.
    """
    judge, plan = Judge(work.pipeline, registry_schemas(work.registry)), work.plan
    with PartWriter(work.root, work.stem, staged_schema(work.pipeline.stored), work.pipeline.staging_format) as part:
        stage_jumps(part, [OffsetRange(r.partition, r.start, r.start + r.gap) for r in plan.ranges if r.gap], "gap")
        with seldom_collected(), RangeReader(work.kafka, plan, work.group_id, work.receipt) as reader:
            stager = Stager(judge, part)
            for chunk in reader.chunks():
                crash_point("step-09.chunk_read")
                stager.add(chunk)
                crash_point("step-11.chunk_staged")
            reading = reader.reading(stager.tally)
        return part.finish(reading)
