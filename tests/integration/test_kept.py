"""What else of a record is kept: unknown fields, value, key, headers and topic, in columns of their own."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

import msgspec
import pytest

from tests.support.looking import query
from tests.support.records import Record
from tests.support.steps import Case, run_steps
from topicledger.event_fields import columns_of


class Click(msgspec.Struct):
    """A click of any page."""

    page: str


SENT = [
    Record(b'{"page":"/a","campaign":"x","tags":[1.10]}', key=b"user-1", headers=[("trace", b"\x01"), ("none", None)]),
    Record(b'{"page":"/b"}', key=None),
    Record(b'{"page":"/c" }', key=b"\xff\x00k"),
    Record(b'{"page":3}', key=b"bad"),
    Record(None, key=b"gone"),
    Record(b'{"page":"/a","campaign":"x","tags":[1.10]}', key=b"user-1"),
]


@pytest.mark.parametrize("staging_format", ["csv", pytest.param("parquet", marks=pytest.mark.slow)])
def test_everything_else_is_kept(case: Case, staging_format: Literal["csv", "parquet"]) -> None:
    """Without a key each event is a row, the same one twice as well, beside all that its record had."""
    pipeline = dataclasses.replace(
        case.pipeline,
        event=Click,
        key=None,
        columns=columns_of(Click),
        clean=None,
        checks=(),
        keep=("unknown", "raw", "key", "key_bytes", "headers", "topic"),
        staging_format=staging_format,
    )
    clicks = dataclasses.replace(case, pipeline=pipeline)
    clicks.send([dataclasses.replace(record, partition=0) for record in SENT])
    accounts = run_steps(clicks).accounts
    assert (accounts.loaded, accounts.duplicates, accounts.dead_letters, accounts.tombstones) == (4, 0, 1, 1)
    assert accounts.unknown_fields == 4
    hexed = "encode({}, 'hex')" if case.place.conn_type == "postgres" else "lower(hex({}))"
    found = query(
        case.place,
        "SELECT page, CAST(_unknown_fields AS varchar), _kafka_value, _kafka_key, "
        f"{hexed.format('_kafka_key_bytes')}, CAST(_kafka_headers AS varchar), _kafka_topic "
        f"FROM {pipeline.table} ORDER BY _kafka_offset",
    )
    assert [_read(row) for row in found] == [
        (
            "/a",
            {"campaign": "x", "tags": [1.1]},
            SENT[0].value,
            "user-1",
            b"user-1",
            [["trace", "AQ=="], ["none", None]],
        ),
        ("/b", None, SENT[1].value, None, None, []),
        ("/c", None, SENT[2].value, "\\xff\\0k", b"\xff\x00k", []),
        ("/a", {"campaign": "x", "tags": [1.1]}, SENT[5].value, "user-1", b"user-1", []),
    ]
    assert {row[-1] for row in found} == {case.topic}


def _read(row: tuple[Any, ...]) -> tuple[Any, ...]:
    page, unknown, value, key, key_bytes, headers, _ = row
    return (
        page,
        unknown and json.loads(unknown),
        value.encode(),
        key,
        None if key_bytes is None else bytes.fromhex(key_bytes),
        json.loads(headers),
    )
