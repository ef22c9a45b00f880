"""A staged batch without records, in any root: for what is about files and not about what they hold."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from topicledger.model.identity import CONTRACT_VERSION
from topicledger.model.manifest import Manifest
from topicledger.staged_files.folder import stem
from topicledger.staged_files.opened_batch import ManifestHandle
from topicledger.staged_files.root import StagingRoot
from topicledger.staged_files.writer import StagedBatch

BATCH, PLAN = "0123456789abcdef", "fedcba9876543210"
_N: pa.Field[Any] = pa.field("n", pa.int64(), nullable=False)
COLUMNS = pa.schema([_N, pa.field("text", pa.string())])


def stage_in(
    root: StagingRoot,
    batch_id: str = BATCH,
    stem_of: str = "",
    texts: tuple[str, ...] = (),
    staging_format: str = "csv",
    **changes: Any,
) -> ManifestHandle:
    """Stage a batch.

    Args:
        root: Where.
        batch_id: Whose.
        stem_of: The stem of its files; empty for a new one.
        texts: What the rows' file has as text.
        staging_format: Of the files.
        changes: Other values for the manifest's fields.
    """
    with StagedBatch(root, stem_of or stem(batch_id), COLUMNS, staging_format) as batch:
        if texts:
            numbers = pa.array(range(len(texts)), pa.int64())
            coordinates = [numbers.cast(pa.int32()), numbers, numbers.cast(pa.timestamp("ms", tz="UTC"))]
            batch.rows.write([numbers, pa.array(texts, pa.string()), *coordinates])
        rows, dead_letters, tombstones, jumps = batch.finish_files()
        fields: dict[str, Any] = {
            "contract_version": CONTRACT_VERSION,
            "batch_id": batch_id,
            "plan_id": PLAN,
            **changes,
        }
        manifest = Manifest(
            pipeline="p",
            target="main.t",
            run_id="manual__1",
            topic="t",
            topic_id="A" * 22,
            partitions=(),
            rows=rows,
            dead_letters=dead_letters,
            tombstones=tombstones,
            jumps=jumps,
            **fields,
        )
        path, sha256 = batch.finish(manifest)
    return ManifestHandle(path, sha256, batch_id, PLAN)
