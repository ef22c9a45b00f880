"""A staged batch without records, in any root: for what is about files and not about what they hold."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from topicledger.model.identity import CONTRACT_VERSION
from topicledger.model.manifest import Manifest
from topicledger.model.slices import Reading
from topicledger.model.tally import Tally
from topicledger.staged_files.folder import stem
from topicledger.staged_files.opened_batch import ManifestHandle
from topicledger.staged_files.root import StagingRoot
from topicledger.staged_files.writer import PartWriter, read_part, removed_unless_whole, stage_manifest

BATCH, PLAN = "0123456789abcdef", "fedcba9876543210"
_N: pa.Field[Any] = pa.field("n", pa.int64(), nullable=False)
COLUMNS = pa.schema([_N, pa.field("text", pa.string())])
NOTHING_READ = Reading((), (), 0, None, Tally())


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
    stem_of = stem_of or stem(batch_id)
    with removed_unless_whole(root, stem_of):
        with PartWriter(root, stem_of, COLUMNS, staging_format) as part:
            if texts:
                numbers = pa.array(range(len(texts)), pa.int64())
                coordinates = [numbers.cast(pa.int32()), numbers, numbers.cast(pa.timestamp("ms", tz="UTC"))]
                part.rows.write([numbers, pa.array(texts, pa.string()), *coordinates])
            staged = part.finish(NOTHING_READ)
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
            parts=read_part(root, staged).parts,
            **fields,
        )
        return stage_manifest(root, stem_of, manifest)
