"""The judge over all kinds of event types: what it counts, and what their own code raises."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import re
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
import pyarrow as pa
import pytest

from topicledger.columns import Column
from topicledger.errors import SettingsError
from topicledger.event_fields import columns_of
from topicledger.events.judge import Judge
from topicledger.pipeline import CleanUp, Pipeline

_Any = TypeVar("_Any")


class Base(msgspec.Struct):
    """What the others are made of."""

    id: str
    count: int = 0


class Tagged(Base, tag="pay"):
    """A tag of its own."""


class TaggedByName(Base, tag=True, tag_field="kind"):
    """A tag that is the class's name."""


class TaggedByFunction(Base, tag=str.lower):
    """A tag that is made of the class's name."""


class TaggedByNumber(Base, tag=7):
    """A tag that is a number."""


class Renamed(msgspec.Struct, rename="upper"):
    """Other names in JSON."""

    id: str
    count: int = 0


class Exact(Base, forbid_unknown_fields=True):
    """An event type that has no unknown fields."""


class KeywordsOnly(Base, kw_only=True, order=True, omit_defaults=True, weakref=True, dict=True):
    """What else a Struct may be."""

    first: int
    tags: list[str] = msgspec.field(default_factory=list)


class AsArray(Base, array_like=True):
    """An event as a JSON array."""


class AsTaggedArray(Base, array_like=True, tag="pay"):
    """The same behind a tag."""


class OfAny(Base, Generic[_Any]):
    """A generic type, with another one in it."""

    inner: Base | None = None
    any: _Any | None = None


def pipeline(event: type[msgspec.Struct], **columns: str) -> Pipeline:
    """A pipeline that keeps some of an event's fields."""
    return Pipeline(
        name="own",
        topic="own",
        event=event,
        columns=(
            Column("id", "text"),
            Column("count", "int64"),
            *(Column(name, kind, nullable=True) for name, kind in columns.items()),
        ),
        key="id",
        table="own",
    )


@pytest.mark.parametrize(
    ("event", "document", "unknown"),
    [
        (Tagged, {"type": "pay", "id": "a"}, 0),
        (Tagged, {"id": "a", "kind": "pay", "count": 1}, 1),
        (TaggedByName, {"kind": "TaggedByName", "id": "a"}, 0),
        (TaggedByName, {"kind": "TaggedByName", "id": "a", "type": "x"}, 1),
        (TaggedByFunction, {"type": "taggedbyfunction", "id": "a", "x": 1, "y": 2}, 2),
        (TaggedByNumber, {"type": 7, "id": "a", "x": 1}, 1),
        (Renamed, {"ID": "a", "COUNT": 1, "count": 2}, 1),
        (KeywordsOnly, {"id": "a", "first": 1, "x": 2}, 1),
        (AsArray, ["a", 1], 0),
        (AsArray, ["a", 1, None, "x"], 2),
        (AsTaggedArray, ["pay", "a"], 0),
        (AsTaggedArray, ["pay", "a", 1, 2], 1),
        (OfAny, {"id": "a", "inner": {"id": "b", "not": "here"}, "any": {}, "x": 1}, 2),
    ],
)
def test_unknown_fields_of_every_kind_of_struct(event: type[msgspec.Struct], document: Any, unknown: int) -> None:
    """A record becomes a row whatever kind of Struct it is, and just the fields that it doesn't have are counted."""
    judged = Judge(pipeline(event)).chunk([json.dumps(document).encode()] * 2)
    assert not judged.rejected
    assert judged.columns.column(0).to_pylist() == ["a", "a"]
    assert judged.unknown_fields == 2 * unknown


@pytest.mark.parametrize(
    ("event", "document", "says", "unknown"),
    [
        (Tagged, {"type": "other", "id": "a", "x": 1}, "Invalid value 'other' - at `$.type`", 1),
        (Exact, {"id": "a", "x": 1}, "unknown field `x`", 1),
        (Base, ["a", 1, 2, 3], "Expected `object`, got `array`", 0),
        (AsArray, {"id": "a"}, "Expected `array`, got `object`", 0),
    ],
)
def test_what_no_struct_takes(event: type[msgspec.Struct], document: Any, says: str, unknown: int) -> None:
    """A record with another tag, in another form, or with a field where none may be, is a dead letter."""
    judged = Judge(pipeline(event)).chunk([json.dumps(document).encode()])
    [(_, reason)] = judged.rejected
    assert reason.reason == "invalid_event"
    assert says in str(reason)
    assert judged.unknown_fields == unknown


class Described(Base):
    """Fields that are flat, though msgspec describes them as something else."""

    title: Annotated[str, msgspec.Meta(title="its title")] = ""
    choice: Literal["a", "b", None] = None  # noqa: PYI061 - not the same to msgspec
    either: Literal["a", 1] = 1
    perhaps: str | msgspec.UnsetType = msgspec.UNSET


def test_fields_that_are_flat_in_spite_of_their_description() -> None:
    """A titled field, a choice with null and a field that may be unset reach the clean-up; the last two as NULL."""
    judge = Judge(pipeline(Described, title="text", choice="text", perhaps="text"))
    judged = judge.chunk([b'{"id":"a","title":"t","choice":"b","perhaps":"p"}', b'{"id":"a","either":"a"}'])
    assert not judged.rejected
    assert judged.columns.to_pylist() == [
        {"id": "a", "count": 0, "title": "t", "choice": "b", "perhaps": "p"},
        {"id": "a", "count": 0, "title": "", "choice": None, "perhaps": None},
    ]


class Plan(enum.Enum):
    """A choice of texts."""

    FREE = "free"
    PRO = "pro"


class Level(enum.IntEnum):
    """A choice of numbers."""

    LOW = 1


class Chosen(Base):
    """Fields whose values Arrow doesn't know."""

    plan: Plan | None = None
    level: Level = Level.LOW
    ref: uuid.UUID | None = None


def test_enums_and_uuids_are_what_they_stand_for() -> None:
    """A member of an Enum becomes its value, a UUID its text in lower case, whichever way it was sent."""
    ref = uuid.UUID(int=0xABC)
    judge = Judge(pipeline(Chosen, plan="text", level="int64", ref="uuid"))
    values = ({"plan": "pro", "level": 1, "ref": str(ref).upper()}, {"ref": ref.hex}, {"plan": "dear"}, {"ref": "12"})
    judged = judge.chunk([json.dumps({"id": "a", **fields}).encode() for fields in values])
    assert [index for index, _ in judged.rejected] == [2, 3]
    assert judged.columns.to_pylist() == [
        {"id": "a", "count": 0, "plan": "pro", "level": 1, "ref": str(ref)},
        {"id": "a", "count": 0, "plan": None, "level": 1, "ref": str(ref)},
    ]


class Timed(Base):
    """Times of which the type says nothing, and times that it says are in UTC."""

    at: dt.datetime | None = None
    utc: Annotated[dt.datetime, msgspec.Meta(tz=False)] | None = None


def test_times_without_an_offset() -> None:
    """A time without an offset is a dead letter, unless the type says that its times have none: then they are UTC."""
    judge = Judge(Pipeline("timed", Timed, key="id"))
    moments = [("2026-01-01T01:00:00+01:00", None), (None, "2026-01-01T00:00:00"), ("2026-01-01T00:00:00", None)]
    judged = judge.chunk([json.dumps({"id": "a", "at": at, "utc": utc}).encode() for at, utc in moments])
    [(index, reason)] = judged.rejected
    assert (index, reason.reason, str(reason)) == (2, "invalid_event", "at is a time without an offset from UTC")
    new_year = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert [(row["at"], row["utc"]) for row in judged.columns.to_pylist()] == [(new_year, None), (None, new_year)]


class Priced(Base):
    """Decimals: one without a declaration of its own, one with."""

    plain: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)


PRICED = Pipeline("priced", Priced, key="id", columns=columns_of(Priced, Column("cost", "decimal(12,2)")))


@pytest.mark.parametrize(
    "sent",
    [b"0.1", b"12345.67", b"-9999999999.99", b"1e9", b"1.1000", b"0e400", b"-0.0", b'"7.5"', b"1." + b"0" * 5_000],
)
def test_a_decimal_is_what_was_sent(sent: bytes) -> None:
    """A JSON number becomes a decimal by its text, with no float on the way; so does a text."""
    judged = Judge(PRICED).chunk([b'{"id":"a","cost":%s,"plain":12345678901234567890.123456789}' % sent])
    assert not judged.rejected
    [row] = judged.columns.to_pylist()
    assert (row["cost"], row["plain"]) == (Decimal(sent.decode().strip('"')), Decimal("12345678901234567890.123456789"))
    assert judged.columns.schema.field("cost").type == pa.decimal128(12, 2)


@pytest.mark.parametrize(
    "sent",
    [
        *[b"0.001", b"10000000000", b"1e10", b"9" * 400, b"0." + b"1" * 5_000, b"1.00" + b"0" * 5_000 + b"1"],
        *[b"1e400", b"1e-400", b"1e999999999", b'"1e-999999999999"', b'"NaN"', b'"-sNaN123"', b'"Infinity"'],
    ],
)
def test_a_decimal_that_doesnt_fit_is_never_rounded(sent: bytes) -> None:
    """A value that the column doesn't hold exactly costs its record only; 40 of its characters are said at most."""
    values = [b'{"id":"a","cost":1.5}', b'{"id":"b","cost":%s}' % sent, b'{"id":"c","cost":2.5}']
    judged = Judge(PRICED).chunk(values)
    [(index, reason)] = judged.rejected
    assert (index, reason.reason) == (1, "unfit_decimal")
    said = r"cost \S{1,40} isn't exactly a decimal of at most 12 digits, 2 of them behind the point"
    assert re.fullmatch(said, str(reason))
    assert [row["cost"] for row in judged.columns.to_pylist()] == [Decimal("1.5"), Decimal("2.5")]


def _costing(kind: pa.DataType) -> CleanUp:
    return lambda fields: {**fields, "cost": pa.array([None] * len(fields["id"]), kind)}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (pa.decimal128(13, 2), "decimal128"),
        (pa.decimal128(12, 3), "decimal128"),
        (pa.float64(), "double"),
        (pa.int64(), "int64"),
        (pa.string(), "string"),
        (pa.decimal128(10, 2), None),
        (pa.null(), None),
    ],
)
def test_a_clean_up_that_could_lose_digits(given: pa.DataType, says: str | None) -> None:
    """A clean-up gives a decimal of at most the column's digits: what could be rounded is refused before a record."""
    column = Column("cost", "decimal(12,2)", nullable=True)
    pipeline = Pipeline("priced", Priced, key="id", columns=columns_of(Priced, column), clean=_costing(given))
    if says is not None:
        with pytest.raises(SettingsError, match=rf"gives {says}.* for the column cost, which is decimal128\(12, 2\)"):
            Judge(pipeline)
    else:
        assert Judge(pipeline).chunk([b'{"id":"a"}']).columns.column("cost").to_pylist() == [None]


def test_a_decimal_never_becomes_a_float() -> None:
    """A decimal field on a column of floats is refused: it would be rounded."""
    with pytest.raises(SettingsError, match=r"gives decimal128\(38, 9\) for the column cost, which is double"):
        Judge(dataclasses.replace(PRICED, columns=columns_of(Priced, Column("cost", "float64"))))


class SpeechlessError(Exception):
    """An exception whose message raises."""

    def __str__(self) -> str:
        """Raise."""
        raise KeyError


def _noted(_event: Own) -> None:
    error = LookupError("first\0 \ud800" + "x" * 10_000)
    error.add_note("second")
    raise error


def _raising(error: BaseException | type[BaseException]) -> Callable[[Own], None]:
    def raise_it(_event: Own) -> None:
        raise error

    return raise_it


OWN_CODE: Mapping[str, Callable[[Own], object]] = {
    "key": _raising(KeyError("x")),
    "value": _raising(ValueError),
    "stop": _raising(StopIteration),
    "text": _raising(SpeechlessError),
    "memory": _raising(MemoryError),
    "exit": _raising(SystemExit),
    "notes": _noted,
    "recursion": lambda event: event.__post_init__(),
    "inner": lambda _event: msgspec.json.decode('{"'),
    "type": lambda event: setattr(event, "count", object()),
    "surrogate": lambda event: setattr(event, "id", "\ud800"),
    "gone": lambda event: delattr(event, "id"),
}
"""What an event type may do after it was decoded."""


class Own(Base):
    """An event type with code of its own, which a record's `id` chooses."""

    seen: set[Any] = msgspec.field(default_factory=set)

    def __post_init__(self) -> None:
        """Do what the event says."""
        OWN_CODE.get(self.id, id)(self)


@pytest.mark.parametrize(
    ("fields", "reason", "says"),
    [
        ({"id": "key"}, "invalid_event", "the event type raised KeyError: 'x'"),
        ({"id": "value"}, "invalid_event", "the event type raised ValueError"),
        ({"id": "notes"}, "invalid_event", "the event type raised LookupError: first\\u0000 \\ud800xx"),
        ({"id": "stop"}, "invalid_event", "the event type raised StopIteration"),
        ({"id": "recursion"}, "invalid_event", "the event type raised RecursionError: maximum recursion depth"),
        ({"id": "inner"}, "invalid_event", "the event type raised msgspec.DecodeError: Input data was truncated"),
        ({"id": "text"}, "invalid_event", "the event type raised tests.unit.test_judge_event_types.SpeechlessError: <"),
        ({"id": "key", "unknown": 1}, "invalid_event", "the event type raised KeyError: 'x'"),
        ({"id": "x", "seen": [[1]]}, "invalid_event", "the event type raised TypeError: unhashable type: 'list'"),
        ({"id": "gone"}, "invalid_event", "the event type raised AttributeError: "),
        ({"id": "type"}, "out_of_range", "count doesn't fit int64"),
        ({"id": "surrogate"}, "out_of_range", "id doesn't fit string"),
    ],
)
def test_what_an_event_types_own_code_raises(fields: dict[str, Any], reason: str, says: str) -> None:
    """Whatever the event type's own code raises for a record costs that record only, and is named."""
    values = [json.dumps(event).encode() for event in ({"id": "a"}, fields, {"id": "b"}, fields, {"id": "c"})]
    judged = Judge(pipeline(Own)).chunk(values)
    assert judged.columns.column(0).to_pylist() == ["a", "b", "c"]
    assert [(index, rejected.reason) for index, rejected in judged.rejected] == [(1, reason), (3, reason)]
    for _, rejected in judged.rejected:
        assert str(rejected).startswith(says)
        assert len(str(rejected).encode()) < 600
        assert "\0" not in str(rejected)


class OwnDefault(Base):
    """A default that is made by code."""

    made: int = msgspec.field(default_factory=lambda: [][0])


def test_a_default_that_raises() -> None:
    """So is what a default's own code raises, where a record needs the default."""
    judged = Judge(pipeline(OwnDefault)).chunk([b'{"id":"a","made":1}', b'{"id":"b"}'])
    [(index, rejected)] = judged.rejected
    assert (index, str(rejected)) == (1, "the event type raised IndexError: list index out of range")


@pytest.mark.parametrize(("value", "error"), [(b'{"id":"memory"}', MemoryError), (b'{"id":"exit"}', SystemExit)])
def test_what_is_no_records_fault_passes(value: bytes, error: type[BaseException]) -> None:
    """Memory that is short, and what ends a process, make no dead letter."""
    with pytest.raises(error):
        Judge(pipeline(Own)).chunk([b'{"id":"a"}', value])


class Registered(Base):
    """A type that can't be derived from just so."""

    def __init_subclass__(cls, *, registry: str, **options: Any) -> None:
        """Want an argument."""
        super().__init_subclass__(**options)


def test_an_event_type_that_cant_be_derived_from() -> None:
    """Unknown fields are counted where no stricter type can be derived of the event type, too."""
    judged = Judge(pipeline(Registered)).chunk([b'{"id":"a","x":1}', b'{"id":"b"}', b'{"id":1,"x":1}'])
    assert judged.columns.column("id").to_pylist() == ["a", "b"]
    assert (judged.unknown_fields, [index for index, _ in judged.rejected]) == (2, [2])
