"""The columns of the staged files, in order. A row's and a dead letter's last three are its coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

MILLISECONDS = pa.timestamp("ms", tz="UTC")

_COORDINATES: Sequence[pa.Field[Any]] = (
    pa.field("_kafka_partition", pa.int32(), nullable=False),
    pa.field("_kafka_offset", pa.int64(), nullable=False),
    pa.field("_kafka_timestamp", MILLISECONDS),
)

_DEAD_LETTER: Sequence[pa.Field[Any]] = (
    pa.field("reason", pa.string(), nullable=False),
    pa.field("error", pa.string(), nullable=False),
    pa.field("key", pa.string()),
    pa.field("value", pa.string()),
    pa.field("headers", pa.string(), nullable=False),
)

_JUMP: Sequence[pa.Field[Any]] = (
    pa.field("partition", pa.int32(), nullable=False),
    pa.field("start", pa.int64(), nullable=False),
    pa.field("end", pa.int64(), nullable=False),
    pa.field("kind", pa.string(), nullable=False),
)

DEAD_LETTERS = pa.schema([*_DEAD_LETTER, *_COORDINATES])
TOMBSTONES = pa.schema(_COORDINATES[:2])
JUMPS = pa.schema(_JUMP)

TABLES = {"dead_letters": DEAD_LETTERS, "tombstones": TOMBSTONES, "jumps": JUMPS}
"""The staged tables beside the rows, whose schema is the pipeline's own."""


def rows_schema(columns: pa.Schema) -> pa.Schema:
    """The rows file's columns: the pipeline's own, then the coordinates."""
    return pa.schema([*columns, *_COORDINATES])
