"""Hypothesis strategies for what a producer may send: bytes, JSON, and events with something wrong in them."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
from collections.abc import Mapping

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.support.bad_records import BAD
from tests.support.records import Record, event_id

TEXTS = (
    "", " ", "\t=1", "\r=1", "=cmd()", "+1", "-1", "@x", "\\.", "\n\\.\n", "\\N", "NULL", "null", "NaN", "nan", "inf",
    "true", '"', '""', "'", ",", "\r", "\n", "\r\n", "\x0b\x0c\x1c\x85", "\u2028\u2029", "\ufeff",
    "\u3000", "\u00a0\u200b\u3164",
    "\uffff", "\U0010ffff", "\x7f", "\\", "\\\\", "\\x41", "e\u0301", "\u202e", "%s", "{}", "$1", "?", ";--",
    "x" * 70_000,
)  # fmt: skip
"""Texts that a CSV file, a COPY or a spreadsheet could take for something else."""

_ESCAPES = (
    rb'"\ud800"', rb'"\udfff"', rb'"\udc00\ud800"', rb'"\ud83d\ude00"', rb'"\u0000"', rb'"a\u0000b"', rb'"\u2028"',
    rb'"\x41"', rb'"\u12"', rb'"\/\b\f\n\r\t\"\\"', b'"\x00"', b'"\n"', b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\xaf"',
    b'"',
)  # fmt: skip
_NUMBERS = (
    b"0", b"-0", b"-0.0", b"1", b"-1", b"01", b"+1", b".5", b"1.", b"0x1", b"1_000", b"1e3", b"1E+3", b"1.0", b"0.1",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"-9223372036854775809", b"1e18", b"1e19",
    b"1.7976931348623157e308", b"1.8e308", b"1e400", b"-1e400", b"5e-324", b"1e-400", b"NaN", b"Infinity", b"-Infinity",
    b"9007199254740993", b"0.1000000000000000055511151231257827", b"9" * 400, b"9" * 5_000, b"0." + b"1" * 5_000,
    b"1." + b"0" * 5_000, b"0e400", b"1e-9", b"1e-10", b"99999999999999999999999999999", b"1e29",
)  # fmt: skip
_MOMENTS = (
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-00:01",
    "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "2026-02-29T00:00:00Z", "2026-06-30T23:59:60Z",
    "2026-01-01T24:00:00Z", "2026-01-01t00:00:00z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00Z",
    "2026-01-01T00:00:00.1234567891Z", "2026-01-01T00:00:00.9999999Z", "2026-01-01T00:00:00+24:00",
    "-001-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-01-01T00:00:00+23:59", "2026-01-01T00:00:00-0000",
)  # fmt: skip
_DAYS = (
    "0001-01-01",
    "9999-12-31",
    "1970-01-01",
    "1582-10-10",
    "2026-02-29",
    "0000-01-01",
    "20260101",
    "2026-1-1",
    "-",
)


def _json(value: object, ascii_only: bool = False) -> bytes:
    # What isn't ASCII is sent both as it is and escaped; a lone surrogate can only be escaped.
    return json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


texts = st.sampled_from(TEXTS) | st.text(max_size=20)
_zones = st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
_moments = st.datetimes(timezones=_zones).map(lambda moment: moment.isoformat())

text_json: SearchStrategy[bytes] = st.builds(_json, texts, st.booleans())
uuid_json = st.uuids().map(lambda value: _json(str(value))) | st.uuids().map(lambda value: _json(str(value).upper()))
int_json = st.integers(-(2**63), 2**63 - 1).map(_json)
float_json = st.floats(allow_nan=False, allow_infinity=False).map(_json) | int_json
decimal_json = st.decimals(-(10**29) + 1, 10**29 - 1, places=9).map(lambda value: str(value).encode()) | int_json
bool_json = st.booleans().map(_json)
moment_json = _moments.map(_json)
time_json = st.times().map(lambda time: _json(time.isoformat()))
bytes_json = st.binary(max_size=20).map(lambda value: _json(base64.b64encode(value).decode()))
millis_json = st.integers(-62_135_596_800_001, 253_402_300_800_000).map(_json)
_short_json = st.builds(_json, st.sampled_from(TEXTS[:-1]) | st.text(max_size=8), st.booleans())
anything_json: SearchStrategy[bytes] = st.recursive(
    _short_json | int_json | float_json | bool_json | st.just(b"null") | st.just(b"1" * 300 + b".5"),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: b"[%s]" % b",".join(items))
        | st.lists(st.tuples(_short_json, inner), max_size=3).map(
            lambda items: b"{%s}" % b",".join(b"%s:%s" % item for item in items)
        )
    ),
    max_leaves=6,
)
nested_json = st.builds(
    lambda name, items, price, more: b'{"name":%s,"items":[%s]%s%s}' % (name, b",".join(items), price, more),
    _short_json,
    st.lists(int_json | _short_json, max_size=3),
    st.just(b"")
    | decimal_json.map(lambda price: b',"price":%s' % price)
    | st.integers(0, 9).map(lambda n: (b',"price":1e99999', b',"price":"NaN"')[n] if n < 2 else b',"price":null'),
    st.just(b"") | anything_json.map(lambda more: b',"unknown":%s' % more),
)
day_json = st.dates().map(lambda day: _json(day.isoformat()))


_ID = b"@id@"
id_json: SearchStrategy[bytes] = st.just(b'"%s"' % _ID)
"""An event's id, which `drawn` fills in."""


def or_null(values: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """The same, or null."""
    return values | st.just(b"null")


_any_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
junk: SearchStrategy[bytes] = st.one_of(
    _any_value.map(_json),
    st.sampled_from([*_ESCAPES, *_NUMBERS, *map(_json, _MOMENTS), *map(_json, _DAYS)]),
    st.sampled_from([b"[" * 5_000 + b"]" * 5_000, b'{"a":' * 500 + b"1" + b"}" * 500, b"[" * 90, b"", b" ", b"nul"]),
    st.uuids().map(lambda value: _json(value.hex)),
    st.binary(max_size=6),
)
"""In the place of a field's value: a wrong type, a number past every bound, escapes of half a character, nesting."""


def _object(fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"{" + b",".join(name + b":" + value for name, value in fields) + b"}"


_Fields = list[tuple[bytes, bytes]]


def _changed(fields: _Fields, place: int, other: bytes, change: str) -> _Fields:
    at = place % len(fields)
    name, value = fields[at]
    match change:
        case "value":
            return [*fields[:at], (name, other), *fields[at + 1 :]]
        case "name":
            return [*fields[:at], (_json(name.decode().strip('"') + "x"), value), *fields[at + 1 :]]
        case "missing":
            return [*fields[:at], *fields[at + 1 :]]
        case "again":
            return [*fields, (name, other)]
        case "before":
            return [(name, other), *fields]
        case _:
            return [*fields, (b'"unknown"', other)]


def _cut(value: bytes, place: int, length: int, other: bytes) -> bytes:
    at = place % (len(value) + 1)
    return value[:at] + other + value[at + length :]


def events(fields: Mapping[str, SearchStrategy[bytes]]) -> SearchStrategy[bytes]:
    """Well-formed events of a type, given as a strategy for the JSON of each field."""
    return st.tuples(*fields.values()).map(lambda values: _object(list(zip(map(_json, fields), values, strict=True))))


def nearly_events(fields: Mapping[str, SearchStrategy[bytes]]) -> SearchStrategy[bytes]:
    """Events of a type in which one to three things are wrong, or at least odd."""
    change = st.sampled_from(["value", "value", "value", "name", "missing", "again", "before", "unknown"])
    changes = st.lists(st.tuples(st.integers(0, 30), junk, change), min_size=1, max_size=3)

    def change_all(values: tuple[bytes, ...], wanted: list[tuple[int, bytes, str]]) -> bytes:
        found: _Fields = list(zip(map(_json, fields), values, strict=True))
        for place, other, how in wanted:
            found = _changed(found, place, other, how) if found else found
        return _object(found)

    return st.builds(change_all, st.tuples(*fields.values()), changes)


def values(fields: Mapping[str, SearchStrategy[bytes]]) -> SearchStrategy[bytes | None]:
    """What may be a record's value on the topic of a type: events, what is nearly one, any JSON, any bytes, nothing."""
    good, nearly = events(fields), nearly_events(fields)
    damaged = st.builds(_cut, good | nearly, st.integers(0, 2_000), st.integers(0, 3), st.binary(max_size=3))
    recoded = st.builds(lambda value, code: value.decode(errors="replace").encode(code), good, st.sampled_from(_CODES))
    bad = st.sampled_from([bad.value for bad in BAD])
    return st.one_of(good, good, good, good, nearly, nearly, nearly, damaged, recoded, junk, bad, st.none())


_CODES = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig")


def records(fields: Mapping[str, SearchStrategy[bytes]], partitions: int = 1) -> SearchStrategy[Record]:
    """Whole records: such a value, and any key, headers and time."""
    headers = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=2)
    times = st.sampled_from([0, 0, 1, 253_402_300_799_999, 253_402_300_800_000, 2**62])
    keys = st.none() | st.binary(max_size=8)
    return st.builds(Record, values(fields), keys, st.integers(0, partitions - 1), headers, times)


def drawn(count: int, number: int, strategy: SearchStrategy[Record], ids: int) -> list[Record]:
    """So many records with so many ids; the same for the same number, while the same modules are imported.

    Hypothesis repeats itself on purpose; numbered ids keep that from making nearly all records duplicates.
    """
    found: list[Record] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(record: Record) -> None:
        found.append(record)

    collect()
    return [_identified(record, n % ids) for n, record in enumerate(found)]


def _identified(record: Record, number: int) -> Record:
    if record.value is None:
        return record
    written = event_id(number).upper() if number % 2 else event_id(number)
    return dataclasses.replace(record, value=record.value.replace(_ID, written.encode()))
