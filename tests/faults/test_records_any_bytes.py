"""Whatever a producer sends, each record becomes one of row, dead letter and tombstone, and a row is what was sent."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import functools
import json
import random
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import hostile
from tests.support.every_type import EVERY, EVERY_JSON, PLAIN, SIGN_UP_JSON, judged_rows, stored_rows
from tests.support.hostile import drawn
from tests.support.looking import query
from tests.support.records import Record, event_id
from tests.support.staged_values import stage_and_load
from tests.support.steps import Case, run_steps
from topicledger.connection import Connection
from topicledger.events.field_arrays import as_hex
from topicledger.events.judge import Judge
from topicledger.pipeline import Pipeline
from topicledger.signups import SIGNUPS
from topicledger.warehouse.choice import open_warehouse

EVERY_JUDGE, SIGN_UP_JUDGE = Judge(EVERY), Judge(SIGNUPS)
SEEDS = [(300, 0), *(pytest.param(2_000, seed, marks=pytest.mark.slow) for seed in range(1, 4))]
"""How many records, and which: always the same ones."""


@functools.cache
def every_type(count: int, number: int) -> Sequence[Record]:
    """The same records for each warehouse."""
    return drawn(count, number, hostile.records(EVERY_JSON), ids=count - count // 10)


@functools.cache
def sign_ups(count: int, number: int) -> Sequence[Record]:
    """The same, over sign-ups of few ids."""
    return drawn(count, number, hostile.records(SIGN_UP_JSON, partitions=2), ids=count // 15)


fixed = settings(derandomize=True, deadline=None, max_examples=60)
thorough = settings(fixed, max_examples=1_000)


def require_one_verdict_each(judge: Judge, chunk: Sequence[bytes | None]) -> None:
    values = [value for value in chunk if value is not None]
    judged = judge.chunk(values)
    rejected = [index for index, _ in judged.rejected]
    assert rejected == sorted(set(rejected) & set(range(len(values))))
    assert judged.columns.num_rows + len(rejected) == len(values)
    for _, reason in judged.rejected:
        assert str(reason).encode()


def require_what_was_sent(sent: Sequence[Record], judged: dict[int, tuple[Any, ...]]) -> None:
    """Compare with Python's own JSON: each column has the value of its field."""
    names = [column.name for column in EVERY.columns]
    for offset, row in judged.items():
        document = json.loads((sent[offset].value or b"").decode(), parse_float=Decimal)
        for column, value in zip(EVERY.columns, row, strict=True):
            assert _is(value, document.get(column.name), column.type), (offset, names, row)


def _is(value: Any, field: Any, kind: str) -> bool:
    if field is None or value is None:
        return field is value
    match kind:
        case "timestamptz" if isinstance(field, int):
            return bool(value == field * 1_000)
        case "timestamptz":
            # Digits past the microsecond are rounded by one decoder, dropped by the other.
            epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
            micros = (dt.datetime.fromisoformat(field.upper()) - epoch) // dt.timedelta(microseconds=1)
            return bool(abs(value - micros) <= 1)
        case "uuid":
            return bool(value == field.lower())
        case "float64":
            return bool(value == float(field).hex())
        case "decimal(38,9)":
            return bool(value == Decimal(field))
        case "time":
            return bool(value == dt.time.fromisoformat(field).isoformat("microseconds"))
        case "bytes":
            return bool(value == as_hex(base64.b64decode(field)))
        case "json":
            return bool(value == _known(field))
        case _:
            return bool(value == field) and type(value) is type(field)


def _known(field: Any) -> Any:
    """A nested field without what its type doesn't have, and with its default; anything else as it is."""
    if not isinstance(field, dict) or not {"name", "items"} <= field.keys():
        return field
    price = field.get("price")
    return {"name": field["name"], "items": field["items"], "price": Decimal(price) if price is not None else None}


@fixed
@given(st.lists(hostile.values(EVERY_JSON), max_size=4))
def test_every_type_gets_one_verdict(chunk: list[bytes | None]) -> None:
    """Over an event of every type the judge raises nothing, and each value is either accepted or rejected."""
    require_one_verdict_each(EVERY_JUDGE, chunk)


@pytest.mark.slow
@thorough
@given(st.lists(hostile.values(EVERY_JSON), max_size=8))
def test_every_type_gets_one_verdict_thoroughly(chunk: list[bytes | None]) -> None:
    """The same over many more values."""
    require_one_verdict_each(EVERY_JUDGE, chunk)


@pytest.mark.slow
@thorough
@given(st.lists(hostile.values(SIGN_UP_JSON), max_size=8))
def test_each_sign_up_gets_one_verdict_thoroughly(chunk: list[bytes | None]) -> None:
    """The same over sign-ups."""
    require_one_verdict_each(SIGN_UP_JUDGE, chunk)


@pytest.mark.parametrize(("count", "number"), SEEDS)
@pytest.mark.parametrize("staging_format", ["csv", pytest.param("parquet", marks=pytest.mark.slow)])
def test_every_type_survives_the_way_into_the_table(
    place: Connection, tmp_path: Path, count: int, number: int, staging_format: Literal["csv", "parquet"]
) -> None:
    """What the judge accepted comes back from the table bit by bit, and is what Python's own JSON reads."""
    sent = every_type(count, number)
    judged = _judged(sent)
    require_what_was_sent(sent, judged)
    with closing(open_warehouse(place, _staged_in(EVERY, tmp_path))) as warehouse:
        pipeline = dataclasses.replace(_staged_in(EVERY, tmp_path), staging_format=staging_format)
        accounts = stage_and_load(warehouse, pipeline, sent)
    stored = stored_rows(place)
    assert stored == {offset: judged[offset] for offset in stored}
    assert len(stored) == accounts.loaded == len({row[0] for row in judged.values()})
    assert accounts.duplicates == len(judged) - len(stored)
    assert accounts.loaded > count / 10
    require_dead_letters(place, sent, set(judged))
    tombstones = sum(record.value is None for record in sent)
    assert (accounts.records, accounts.tombstones) == (len(sent), tombstones)
    assert accounts.dead_letters == len(sent) - len(judged) - tombstones > count / 10


def _judged(sent: Sequence[Record]) -> dict[int, tuple[Any, ...]]:
    """The judge's own rows by the record's offset."""
    live = [offset for offset, record in enumerate(sent) if record.value is not None]
    found = judged_rows(EVERY_JUDGE.chunk([sent[offset].value or b"" for offset in live]))
    return {live[index]: row for index, row in found.items()}


def _staged_in(pipeline: Pipeline, folder: Path) -> Pipeline:
    folder.chmod(0o700)
    return dataclasses.replace(pipeline, staging_dir=str(folder))


def require_dead_letters(place: Connection, sent: Sequence[Record], rows: set[int]) -> None:
    """Each record that isn't a row or a tombstone is one dead letter, with its value, key and headers."""
    found = query(
        place, f'SELECT _kafka_offset, "value", "key", CAST(headers AS varchar) FROM {EVERY.dead_letter_table}'
    )
    expected = {offset for offset, record in enumerate(sent) if record.value is not None} - rows
    assert sorted(offset for offset, *_ in found) == sorted(expected)
    for offset, value, key, headers in found:
        record = sent[offset]
        assert (bytes(value), None if key is None else bytes(key)) == (record.value, record.key)
        assert json.loads(headers) == [_as_json(name, raw) for name, raw in record.headers]


def _as_json(name: str, value: bytes | None) -> list[str | None]:
    """A header of a dead letter: with the name's bytes where jsonb can't hold the name."""
    content = None if value is None else base64.b64encode(value).decode()
    if "\0" not in name:
        return [name, content]
    return [name.replace("\0", "\\0"), content, base64.b64encode(name.encode()).decode()]


@pytest.mark.parametrize(("count", "number"), SEEDS)
def test_each_sign_up_is_accounted_for(case: Case, count: int, number: int) -> None:
    """Through a real broker, every record is where the oracle wants it, and the books close."""
    sent = sign_ups(count, number)
    case.send(_sendable(sent))
    accounts = run_steps(case).accounts
    assert accounts.records == len(sent)
    assert min(accounts.loaded, accounts.dead_letters, accounts.tombstones, accounts.duplicates) > 0
    case.oracle().require_every_record_once()


def _sendable(sent: Sequence[Record]) -> list[Record]:
    """The records with times and header names that the broker and its C client take."""
    return [
        dataclasses.replace(
            record,
            timestamp_ms=0,
            headers=[(name.replace("\0", ""), value) for name, value in record.headers],
        )
        for record in sent
    ]


@pytest.mark.fault(65, "goes on")
def test_formulas_behind_white_space(place: Connection, tmp_path: Path) -> None:
    """Where the clean-up doesn't trim, also a tab or a line break before a formula is stored as it was sent."""
    texts = list(hostile.TEXTS)
    events = [{**PLAIN, "id": event_id(number), "text": text} for number, text in enumerate(texts)]
    sent = [Record(json.dumps(event).encode()) for event in events]
    with closing(open_warehouse(place, _staged_in(EVERY, tmp_path))) as warehouse:
        stage_and_load(warehouse, _staged_in(EVERY, tmp_path), sent)
    assert [text for (text,) in query(place, "SELECT text FROM every_type ORDER BY _kafka_offset")] == texts


def test_a_key_that_no_index_takes(place: Connection, tmp_path: Path) -> None:
    """A text that is too long for a unique index is a dead letter where it is the key, and is no trouble elsewhere."""
    long = "".join(map(chr, random.Random(0).sample(range(0x4E00, 0x9FFF), 5_000)))
    keys = ["short", "x" * 2_000, "x" * 2_001, "\u00e9" * 1_000, "\u00e9" * 1_001, long, ""]
    events = [{**PLAIN, "id": event_id(n), "text": key, "text_or_not": long} for n, key in enumerate(keys)]
    pipeline = dataclasses.replace(_staged_in(EVERY, tmp_path), key="text")
    with closing(open_warehouse(place, pipeline)) as warehouse:
        accounts = stage_and_load(warehouse, pipeline, [Record(json.dumps(event).encode()) for event in events])
    assert (accounts.loaded, accounts.dead_letters) == (4, 3)
    assert [offset for (offset,) in query(place, "SELECT _kafka_offset FROM every_type ORDER BY 1")] == [0, 1, 3, 6]
    reasons = query(place, "SELECT DISTINCT reason FROM every_type_dead_letters")
    assert reasons == [("out_of_range",)]
