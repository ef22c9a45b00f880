"""A pipeline with every type of column, nullable and not, that changes nothing; its values as they are read back."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pyarrow as pa
from hypothesis import strategies as st

from tests.support import hostile
from tests.support.looking import query
from topicledger.columns import Column
from topicledger.connection import Connection
from topicledger.events.judge import Judged
from topicledger.field_types import EpochMillis
from topicledger.pipeline import Pipeline

_Moment = Annotated[dt.datetime, msgspec.Meta(tz=True)]


class Nested(msgspec.Struct, frozen=True, gc=False):
    """What is in a field."""

    name: str
    items: list[int | str]
    price: Decimal | None = None


class Every(msgspec.Struct, frozen=True, gc=False):
    """One field for each type of column, and one that may be null."""

    id: str
    other: str | None
    whole: int
    part: float
    exact: Decimal
    text: str
    yes: bool
    at: _Moment
    day: dt.date
    opens: dt.time
    photo: bytes
    nested: Nested
    anything: Any
    since: EpochMillis
    whole_or_not: int | None = None
    part_or_not: float | None = None
    exact_or_not: Decimal | None = None
    text_or_not: str | None = None
    yes_or_not: bool | None = None
    at_or_not: _Moment | None = None
    day_or_not: dt.date | None = None
    opens_or_not: dt.time | None = None
    photo_or_not: bytes | None = None
    nested_or_not: Nested | None = None
    since_or_not: EpochMillis | None = None


_TYPES: dict[str, str] = {
    "id": "uuid",
    "other": "uuid",
    "whole": "int64",
    "part": "float64",
    "exact": "decimal(38,9)",
    "text": "text",
    "yes": "bool",
    "at": "timestamptz",
    "day": "date",
    "opens": "time",
    "photo": "bytes",
    "nested": "json",
    "anything": "json",
    "since": "timestamptz",
}
_COLUMNS = [*_TYPES, *(f"{name}_or_not" for name in _TYPES if hasattr(Every, f"{name}_or_not"))]

EVERY = Pipeline(
    name="every_type",
    topic="every_type",
    event=Every,
    columns=tuple(
        Column(
            name,
            _TYPES[name.removesuffix("_or_not")],
            nullable=name in ("other", "anything") or name.endswith("_or_not"),
        )
        for name in _COLUMNS
    ),
    key="id",
    table="every_type",
)

_JSON = {
    "id": hostile.id_json,
    "other": hostile.or_null(hostile.uuid_json),
    "whole": hostile.int_json,
    "part": hostile.float_json,
    "exact": hostile.decimal_json,
    "text": hostile.text_json,
    "yes": hostile.bool_json,
    "at": hostile.moment_json,
    "day": hostile.day_json,
    "opens": hostile.time_json,
    "photo": hostile.bytes_json,
    "nested": hostile.nested_json,
    "anything": hostile.anything_json,
    "since": hostile.millis_json,
}
EVERY_JSON = _JSON | {
    f"{name}_or_not": hostile.or_null(values)
    for name, values in _JSON.items()
    if name not in ("id", "other", "anything")
}
"""The JSON that each field may have."""

PLAIN: dict[str, Any] = {
    "other": None,
    "whole": 1,
    "part": 1,
    "exact": 1,
    "yes": True,
    "at": "2026-01-01T00:00:00Z",
    "day": "2026-01-01",
    "opens": "12:00:00",
    "photo": "",
    "nested": {"name": "", "items": []},
    "anything": None,
    "since": 0,
}
"""What a record has besides its id and its text."""

SIGN_UP_JSON = {
    "event_id": hostile.id_json,
    "user_id": st.integers(0, 2**63 - 1).map(lambda n: b"%d" % n),
    "username": hostile.text_json,
    "email": st.sampled_from(
        [
            *[b'"A@B.example"', b'" a@b "', b'"\\u00e9@\\u00c9"', b'"\\u3000a@b\\u0085"'],
            *[b'"a"', b'"\\u00a0@\\u00a0"', b'"\\u200ba@b"'],
        ]
    ),
    "country": st.sampled_from([b'"DE"', b'"FR"']),
    "plan": st.sampled_from([b'"free"', b'"team"']),
    "source": st.just(b'"ads"'),
    "marketing_opt_in": hostile.bool_json,
    "signed_up_at": hostile.moment_json,
    "full_name": hostile.or_null(hostile.text_json),
}
"""The JSON of the shipped pipeline's event."""


def judged_rows(judged: Judged) -> dict[int, tuple[Any, ...]]:
    """The judged values by their index, as `stored_rows` reads them back."""
    columns = [_plain(judged.columns.column(i), judged.columns.schema.names[i]) for i in range(len(_COLUMNS))]
    return dict(zip(accepted(judged), zip(*columns, strict=True), strict=True))


def accepted(judged: Judged) -> list[int]:
    """The indices of the rows: all that aren't rejected, in their order."""
    rejected = {index for index, _ in judged.rejected}
    return [index for index in range(judged.columns.num_rows + len(rejected)) if index not in rejected]


def _plain(column: pa.Array[Any], name: str) -> list[Any]:
    match _TYPES[name.removesuffix("_or_not")]:
        case "timestamptz":
            return column.cast(pa.int64()).to_pylist()
        case "date" | "time":
            return column.cast(pa.string()).to_pylist()
        case "json":
            return [value and as_document(value) for value in column.to_pylist()]
        case "uuid":
            return [value and value.lower() for value in column.to_pylist()]
        case "float64":
            return [None if value is None else float(value).hex() for value in column.to_pylist()]
        case _:
            return column.to_pylist()


def stored_rows(place: Connection) -> dict[int, tuple[Any, ...]]:
    """The rows by their offset, read by a plain client: floats by their bits, times in microseconds."""
    micros = {"postgres": "CAST(extract(epoch FROM {}) * 1000000 AS bigint)", "duckdb": "epoch_us({})"}
    read: dict[str, str] = {
        "timestamptz": micros[place.conn_type],
        "date": "CAST({} AS varchar)",
        "time": "CAST({} AS varchar)",
        "bytes": "encode({}, 'hex')" if place.conn_type == "postgres" else "lower(hex({}))",
        "json": "CAST({} AS varchar)",
        "uuid": "CAST({} AS varchar)",
    }
    picked = [read.get(_TYPES[name.removesuffix("_or_not")], "{}").format(f'"{name}"') for name in _COLUMNS]
    found = query(place, f"SELECT _kafka_offset, {', '.join(picked)} FROM every_type")
    return {offset: tuple(map(_comparable, _COLUMNS, values)) for offset, *values in found}


def _comparable(name: str, value: Any) -> Any:
    match _TYPES[name.removesuffix("_or_not")]:
        case _ if value is None:
            return None
        case "float64":
            return value.hex()
        case "bytes":
            return f"\\x{value}"
        case "time":
            return dt.time.fromisoformat(value).isoformat("microseconds")
        case "json":
            return as_document(value)
        case _:
            return value


def as_document(text: str) -> Any:
    """JSON as Python's own decoder has it, every digit kept."""
    return json.loads(text, parse_float=Decimal)
