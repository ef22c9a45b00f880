"""Values survive the way from the staged file into the table, whatever is in them."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.batches import Batch, load, origin
from tests.contract.places import Place
from topicledger.events.field_arrays import as_hex
from topicledger.model.plan import OffsetRange

HOSTILE = [
    "line\nfeed",
    "carriage\rreturn\r\n",
    'quote " and "" and "',
    "comma, semicolon; tab\t|",
    "back\\slash \\N \\\\",
    "\\.",
    "a\n\\.\nb",
    "u2028\u2028u2029\u2029u0085\u0085",
    "'; DROP TABLE events; --",
    "=cmd()",
    "%s %(x)s ? $1 {}",
    "null",
    "NULL",
    "NaN",
    " leading and trailing ",
    "\U0001f600 \u200b \ufeff \u0301",
    "\x01\x1f\x7f",
    "",
]


def stored(place: Place, columns: str) -> list[tuple[Any, ...]]:
    return place.query(f"SELECT {columns} FROM {place.schema}.events ORDER BY _kafka_offset")


def micros(place: Place, column: str) -> str:
    if place.kind == "postgres":
        return f'(extract(epoch FROM "{column}") * 1000000)::bigint'
    if place.kind == "snowflake":
        return f'DATE_PART(EPOCH_MICROSECOND, "{column.upper()}")'
    return f'epoch_us("{column}")'


def test_hostile_text(place: Place) -> None:
    """Newlines, quotes, separators, escapes and control characters come back as they were."""
    warehouse = place.ready()
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, len(HOSTILE))])
    for offset, text in enumerate(HOSTILE):
        batch.row(0, offset, offset, name=text, note=text)
    load(warehouse, batch)
    assert stored(place, "name, note") == [(text, text) for text in HOSTILE]


def test_null_is_not_the_empty_string(place: Place) -> None:
    """NULL stays NULL, the empty string stays empty."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, Batch([OffsetRange(0, 0, 2)]).row(0, 0, 0, note=None).row(0, 1, 1, note=""))
    assert stored(place, "note") == [(None,), ("",)]


def test_types_at_their_edges(place: Place) -> None:
    """The extremes of every type arrive unchanged, with real types behind them."""
    utc = dt.UTC
    low = dt.datetime(1, 1, 1, tzinfo=utc)
    high = dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=utc)
    warehouse = place.ready()
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 3)])
    batch.row(0, 0, "ABCDEF00-1234-5678-9ABC-DEF012345678", amount=2**63 - 1, ratio=1.7976931348623157e308, at=high)
    batch.row(0, 1, 1, amount=-(2**63), ratio=5e-324, at=low, day=dt.date(1, 1, 1), _kafka_timestamp=low)
    batch.row(0, 2, 2, amount=0, ratio=0.1, flag=False, day=dt.date(9999, 12, 31), _kafka_timestamp=high)
    load(warehouse, batch)
    assert stored(place, "CAST(event_id AS text)")[0] == ("abcdef00-1234-5678-9abc-def012345678",)
    assert stored(place, "amount, ratio, flag, day") == [
        (2**63 - 1, 1.7976931348623157e308, True, None),
        (-(2**63), 5e-324, True, dt.date(1, 1, 1)),
        (0, 0.1, False, dt.date(9999, 12, 31)),
    ]
    epoch = dt.datetime(1970, 1, 1, tzinfo=utc)
    first, last = ((moment - epoch) // dt.timedelta(microseconds=1) for moment in (low, high))
    both = f"{micros(place, 'at')}, {micros(place, '_kafka_timestamp')}"
    assert stored(place, both) == [(last, None), (first, first), (None, last)]


def test_decimals_are_exact(place: Place) -> None:
    """Every digit of a decimal arrives, however small or large the value is."""
    prices = ["12345678901234567890123456789.123456789", "-99999999999999999999999999999.999999999", "0.000000001"]
    prices += ["-0.0000001", "0", "1.10"]
    warehouse = place.ready()
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, len(prices))])
    for offset, price in enumerate(prices):
        batch.row(0, offset, offset, price=Decimal(price))
    load(warehouse, batch)
    assert stored(place, "price") == [(Decimal(price),) for price in prices]


def test_times_of_day_and_bytes(place: Place) -> None:
    """The first and the last microsecond of a day, and any bytes, come back as they were; empty ones stay empty."""
    times = [dt.time(0, 0), dt.time(23, 59, 59, 999999), None]
    photos = [bytes(range(256)), b"", None]
    warehouse = place.ready()
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 3)])
    for offset, (opens, photo) in enumerate(zip(times, photos, strict=True)):
        batch.row(0, offset, offset, opens=opens, photo=as_hex(photo))
    load(warehouse, batch)
    assert [(opens, photo and bytes(photo)) for opens, photo in stored(place, "opens, photo")] == [
        *zip(times, photos, strict=True)
    ]


def test_json_is_a_value_of_its_own_type(place: Place) -> None:
    """A document keeps its texts and its digits, JSON's null is no NULL, and the warehouse looks into it."""
    # The emulator of Snowflake reads numbers in JSON as floats.
    price = "1.25" if place.kind == "snowflake" else "12345678901234567.123456789"
    documents = [json.dumps({"texts": HOSTILE, "deep": [{"a": [None, True]}]}), f'{{"price":{price}}}']
    documents += ["null", '"a text"', "[]"]
    warehouse = place.ready()
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 6)])
    for offset, document in enumerate([*documents, None]):
        batch.row(0, offset, offset, document=document)
    load(warehouse, batch)
    found = [text for (text,) in stored(place, "CAST(document AS text)")]
    assert found[-1] is None
    assert [json.loads(text, parse_float=Decimal) for text in found[:-1]] == [
        json.loads(text, parse_float=Decimal) for text in documents
    ]
    into = {"postgres": "document #>> '{deep,0,a,1}'", "snowflake": "document:deep[0].a[1]::text"}
    looked = into.get(place.kind, "document ->> '$.deep[0].a[1]'")
    assert stored(place, looked)[0] == ("true",)


def test_dead_letters_keep_their_bytes(place: Place) -> None:
    """Key and value of a dead letter are the original bytes; NULL and empty stay different; headers are JSON."""
    warehouse = place.ready()
    origin(warehouse)
    every = bytes(range(256)) * 3
    batch = Batch([OffsetRange(0, 0, 3)])
    batch.dead(0, 0, every, key=b"\x00k", headers='[["trace", "AAE="], ["x", null]]', error='line 1, "col" 2\n')
    batch.dead(0, 1, b"", key=None).dead(0, 2, None, key=b"")
    assert load(warehouse, batch).accounts.dead_letters == 3
    rows = place.query(
        f'SELECT "key", "value", reason, error, CAST(headers AS text) FROM {place.schema}.events_dead_letters '
        "ORDER BY _kafka_offset"
    )
    assert [(key, value) for key, value, *_ in rows] == [(b"\x00k", every), (None, b""), (b"", None)]
    assert rows[0][2:4] == ("invalid_json", 'line 1, "col" 2\n')
    assert rows[0][4].replace(" ", "") == '[["trace","AAE="],["x",null]]'
    assert rows[1][4] is None


@pytest.mark.parametrize("size", [900_000, 3_000_000])
def test_large_values(place: Place, size: int) -> None:
    """A value of nearly Kafka's usual limit, and one beyond it, arrive whole."""
    warehouse = place.ready()
    origin(warehouse)
    text = ('x"\n,' * (size // 4 + 1))[:size]
    batch = Batch([OffsetRange(0, 0, 4)]).row(0, 0, 0, name=text).row(0, 1, 1).row(0, 2, 2, note=text)
    batch.dead(0, 3, text.encode())
    load(warehouse, batch)
    assert stored(place, "length(name), length(note)") == [(size, None), (1, None), (1, size)]
    assert stored(place, "name")[0] == (text,)
    assert place.query(f'SELECT "value" FROM {place.schema}.events_dead_letters') == [(text.encode(),)]
