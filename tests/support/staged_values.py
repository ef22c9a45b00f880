"""Steps 11 to 19 over records that come from no broker: the real judge, staging, reader, load and books."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.records import Record
from tests.support.steps import Case, OpenedRun
from tests.support.topics import Topics
from topicledger.connection import Connection
from topicledger.events.judge import Judge
from topicledger.model.accounts import Accounts
from topicledger.model.identity import CONTRACT_VERSION, batch_id, plan_id
from topicledger.model.manifest import Manifest, StagedPartition
from topicledger.model.plan import Position
from topicledger.model.records import Chunk
from topicledger.model.slices import Reading
from topicledger.pipeline import Pipeline
from topicledger.staged_files.folder import stem
from topicledger.staged_files.root import LocalRoot, path_in
from topicledger.staged_files.writer import PartWriter, read_part, stage_manifest
from topicledger.steps.consume import StagedResult
from topicledger.steps.stage import Stager
from topicledger.warehouse.contract import Warehouse

_TOPIC_ID = "Zm9vYmFyYmF6cXV1eA"
_CHUNK = 97


def stage_and_load(warehouse: Warehouse, pipeline: Pipeline, sent: Sequence[Record]) -> Accounts:
    """Load the records as offsets 0 and on of partition 0; return accounts that closed."""
    warehouse.ensure_tables()
    warehouse.add_positions([Position(pipeline.topic, _TOPIC_ID, 0, 0, 0)])
    batch, plan = batch_id(pipeline.name, "any"), plan_id(warehouse.target, _TOPIC_ID, [(0, 0, len(sent))])
    judge, root = Judge(pipeline), LocalRoot(pipeline.staging_dir)
    own_stem = stem(batch)
    with PartWriter(root, own_stem, judge.columns, pipeline.staging_format) as part:
        stager = Stager(judge, part)
        for start in range(0, len(sent), _CHUNK):
            stager.add(_chunk(sent[start : start + _CHUNK], start))
        reading = read_part(root, part.finish(Reading((_partition(len(sent)),), (), 0, None, stager.tally)))
    manifest = Manifest(
        contract_version=CONTRACT_VERSION,
        batch_id=batch,
        plan_id=plan,
        pipeline=pipeline.name,
        target=warehouse.target,
        run_id="any",
        topic=pipeline.topic,
        topic_id=_TOPIC_ID,
        partitions=reading.partitions,
        parts=reading.parts,
        reasons=dict(reading.tally.reasons),
        unknown_fields=reading.tally.unknown_fields,
    )
    staged = StagedResult(path_in(root, reading.parts[0].rows.name), stage_manifest(root, own_stem, manifest))
    case = Case(Topics("nowhere:1"), Connection("warehouse_default", "any"), pipeline)
    return OpenedRun(case, "any", staged=staged, opened=warehouse).load()


def _chunk(sent: Sequence[Record], start: int) -> Chunk:
    return Chunk(
        partitions=[0] * len(sent),
        offsets=list(range(start, start + len(sent))),
        timestamps_ms=[record.timestamp_ms or None for record in sent],
        values=[record.value for record in sent],
        key=lambda index: sent[index].key,
        headers=lambda index: sent[index].headers,
        jumps=[],
    )


def _partition(count: int) -> StagedPartition:
    return StagedPartition(
        partition=0,
        start=0,
        end=count,
        generation=0,
        start_epoch=None,
        end_epoch=None,
        epochs=(),
        gap=0,
        records=count,
        invisible=0,
    )
