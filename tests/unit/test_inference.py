"""What `topicledger infer` makes of documents: the narrowest types that hold them all, a key, and a file that runs."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import uuid
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.docs.pages import ROOT
from tests.support import avro
from topicledger.airflow.ledger import noted_ledgers
from topicledger.events.avro_decoding import AvroDecoding
from topicledger.events.json_decoding import JsonDecoding
from topicledger.events.judge import Judge
from topicledger.formats import Avro
from topicledger.inference.formats import framed_with, of_json
from topicledger.inference.sample import Sample
from topicledger.inference.source import dag_file
from topicledger.pipeline import Pipeline

NAMES = st.one_of(
    st.sampled_from(["id", "class", "dt", "Decimal", "ctid", "userId", "UserId", "userid", "str", "x-y", "1st", "ß"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60),
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["1.50", "-0.7", "00.1", "2026-01-02", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05", "03:04:05"]),
    st.uuids().map(str),
    st.datetimes().map(lambda time: time.isoformat()),
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXTS,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
DOCUMENTS = st.lists(st.dictionaries(NAMES, VALUES, min_size=1, max_size=5), min_size=1, max_size=6)


def sample_of(values: Sequence[bytes | None], keys: Sequence[bytes | None] | None = None) -> Sample:
    """A sample of these records."""
    sample = Sample(JsonDecoding().document)
    sample.add(values, keys or [None] * len(values))
    return sample


def written(documents: Iterable[Any], topic: str = "orders", keys: Sequence[bytes | None] | None = None) -> str:
    """The DAG file for documents, or for JSON as it is."""
    values = [each.encode() if isinstance(each, str) else json.dumps(each).encode() for each in documents]
    return dag_file(sample_of(values, keys), topic, None, {})


def declared(source: str) -> Pipeline:
    """The pipeline that a DAG file declares."""
    with noted_ledgers() as noted:
        exec(compile(source, "dag.py", "exec", dont_inherit=True), {"__name__": "inferred"})  # noqa: S102 - what it is for
    return noted[0].pipeline


def field(name: str, *values: Any, times: int = 50) -> str:
    """The line of a field that has these values in turn; `...` stands for a document without it."""
    documents = [{} if value is ... else {name: value} for _ in range(times) for value in values]
    lines = written([{"n": number, **document} for number, document in enumerate(documents)]).splitlines()
    (line,) = [line.strip() for line in lines if line.startswith(f"    {name}:")]
    return line.removeprefix(f"{name}: ")


@settings(max_examples=60)
@given(DOCUMENTS)
def test_whatever_the_documents_the_type_holds_them(documents: list[dict[str, Any]]) -> None:
    """The file for any JSON objects imports, and its judge takes each of them as a row."""
    values = [json.dumps(document).encode() for document in documents]
    pipeline = declared(dag_file(sample_of(values), "orders", None, {}))
    assert Judge(pipeline).chunk(values).rejected == []


@pytest.mark.parametrize(
    ("line", "name", "values"),
    [
        ("int", "n_seen", [1, -2]),
        ("float", "rate", [1.5, 2, 0.125]),
        ("bool", "active", [True, False]),
        ("str | None  # null in 50 of 100", "note", ["a b", None]),
        ("str | None = None  # absent from 50 of 100", "note", ["a b", ...]),
        ("str | None = None  # null in 50, absent from 50 of 150", "note", ["a b", ..., None]),
        ("Any | None  # null in 100 of 100", "x", [None, None]),
        ("UUID", "ref", ["123e4567-e89b-12d3-a456-426614174000"]),
        ("str", "ref", ["123e4567e89b12d3a456426614174000"]),
        ("dt.datetime", "created", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123+01:00"]),
        (
            "Annotated[dt.datetime, msgspec.Meta(tz=False)]  # without an offset: taken as UTC",
            "c",
            ["2026-01-01T00:00:00"],
        ),
        ("str", "created", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00"]),
        ("dt.date", "day", ["2026-01-01"]),
        ("dt.time", "opens", ["08:00:00"]),
        ('Literal["new", "paid"]', "status", ["new", "paid"]),
        ('Literal["new", "paid"] | None  # null in 50 of 150', "status", ["new", "paid", None]),
        ("str", "first_name", ["Ann", "Bob"]),
        ("str", "said", ["no code", "at all"]),
        ("str  # 13 values, too many for a Literal", "country", [*"ABCDEFGHIJKLM"]),
        ("Any  # 50 whole numbers and 50 texts", "x", [1, "a"]),
        ("Any  # 50 true or false and 50 whole numbers", "x", [True, 1]),
        ("Any  # EpochMillis but for 50", "at", [*range(1_767_225_600_000, 1_767_225_600_009), "soon"]),
        ("list[int]", "xs", [[1], []]),
        ("list[int | None]", "xs", [[1, None]]),
        ("list[Any]  # always empty", "xs", [[]]),
        ("dict[str, Any]  # always empty", "o", [{}]),
        ("dict[str, int]  # the names vary", "counts", [{"2026-01-01": 1}, {"2026-01-02": 2}]),
        ("EpochSeconds", "created_at", [1_767_225_600]),
        ("EpochSeconds", "created_ts", [1_767_225_600.25, 1_767_225_600]),
        ("EpochMillis", "created_at", [1_767_225_600_123]),
        ("EpochMicros", "ts", [1_767_225_600_123_456]),
        ("int", "created_at", [0, 1_767_225_600]),
        ("int", "visitors", [1_767_225_600]),
        ("Annotated[Decimal, Digits(38, 0)]  # whole numbers of up to 20 digits", "n_big", [10**19]),
        ("Annotated[Decimal, Digits(18, 2)]", "price", ["1.50", "10.00"]),
        ("str  # numbers of 1 to 2 digits behind the point", "factor", ["1.5", "10.00"]),
        ("str", "version", ["1.50", "10.00"]),
    ],
)
def test_a_field_is_the_narrowest_that_holds_its_values(line: str, name: str, values: list[Any]) -> None:
    """Of what a field has in turn follow its type, null and absence told apart, and what is unsure."""
    assert field(name, *values) == line


@pytest.mark.parametrize(
    ("line", "name", "numbers"),
    [
        ("Annotated[Decimal, Digits(18, 2)]  # always 2 digits behind the point", "x", ["1.50", "100.00"]),
        ("float", "x", ["1.5", "100.00"]),
        ("Annotated[Decimal, Digits(18, 2)]  # at most 2 digits behind the point", "amount", ["1.5", "7", "0.25"]),
        ("float  # up to 7 digits behind the point", "amount", ["1.1234567", "1"]),
        ("float", "latitude", ["48.208174", "16.373819"]),
        ("Annotated[Decimal, Digits(38, 2)]  # always 2 digits behind the point", "x", ["12345678901234567.25"]),
    ],
)
def test_a_number_is_exact_where_its_digits_say_so(line: str, name: str, numbers: list[str]) -> None:
    """A float stays one unless all numbers have as many digits behind the point, or few under a name of money."""
    source = written(f'{{"{name}": {number}}}' for number in numbers * 20)
    assert f"    {name}: {line}\n" in source


def test_it_is_laid_out_as_a_formatter_would() -> None:
    """What the file says of a wide document is what ruff makes of it."""
    long = "a-name-of-some-length-that-is-no-identifier-and-so-has-to-be-said-once-more"
    documents = [{long: "12.50", f"{long}-2": [1.5] if n else None, "it's": None} for n in range(300)]
    documents += [{long: "1.50", f"{long}-2": None}]
    source = written([{**document, "id": n, "class": "a", "o": {"p": n}} for n, document in enumerate(documents)])
    command = [sys.executable, "-m", "ruff", "format", "--config", "line-length=120", "--stdin-filename", "a.py", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == source
    assert "msgspec.field(\n" in source


@pytest.mark.slow
def test_its_types_are_sound(tmp_path: Path) -> None:
    """mypy finds nothing in it, in its strict mode."""
    values = [{"id": n, "at": f"2026-01-01T00:00:0{n}Z", "o": {"p": [1.5, None], "q": {"r": "2.50"}}} for n in range(9)]
    (tmp_path / "inferred.py").write_text(written(values))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "/dev/null", str(tmp_path / "inferred.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_names() -> None:
    """What is no identifier, or stands for something else, gets one and keeps its name; camel case is a rule."""
    source = written([{"class": 1, "dt": 1, "x-y": 1, "2fa": 1, "Id": 1, "id": 1, "größe": 1, "xmin": 1}])
    for line in (
        'class_: int = msgspec.field(name="class")',
        'dt_: int = msgspec.field(name="dt")',
        'x_y: int = msgspec.field(name="x-y")',
        'field_2fa: int = msgspec.field(name="2fa")',
        "Id: int",
        'id_: int = msgspec.field(name="id")',
        'groe: int = msgspec.field(name="größe")',
        'xmin_: int = msgspec.field(name="xmin")',
    ):
        assert f"    {line}\n" in source
    source = written([{"orderId": 1, "placedAt": "2026-01-01T00:00:00Z"}])
    assert 'class Order(msgspec.Struct, rename="camel"):\n    order_id: int\n    placed_at: dt.datetime\n' in source
    assert 'key="order_id"' in source


def test_objects_are_classes() -> None:
    """A nested object is a class of its own, named after its field; the same name twice gets its owner's before it."""
    address = {"city": "Wien"}
    source = written(
        [{"customer": {"address": address}, "address": address, "items": [{"sku": "a"}, {"sku": "b", "n": 1}]}]
    )
    assert [line for line in source.splitlines() if line.startswith("class ")] == [
        "class Address(msgspec.Struct):",
        "class Customer(msgspec.Struct):",
        "class OrderAddress(msgspec.Struct):",
        "class Item(msgspec.Struct, omit_defaults=True):",
        "class Order(msgspec.Struct):",
    ]
    assert "    items: list[Item]\n" in source


@pytest.mark.parametrize(
    ("documents", "keys", "said"),
    [
        (
            [{"id": 1}, {"id": 2}],
            None,
            '# key: unique in 2 records\nORDERS = Pipeline(topic="orders", event=Order, key="id")',
        ),
        ([{"id": 1}, {"id": 2}, {"id": 1}], None, 'key="id"'),
        (
            [{"id": 1, "n": 1}, {"id": 1, "n": 2}],
            None,
            "# no key: what looks like an identifier repeats: id in 1 of 2 records",
        ),
        ([{"id": 1, "version": 1}, {"id": 1, "version": 2}], None, "# key: unique together; id alone repeats in 1\n"),
        ([{"id": 1, "version": 1}, {"id": 1, "version": 2}], None, 'key=("id", "version")'),
        ([{"customer_id": 1, "order_id": 5}, {"customer_id": 2, "order_id": 6}], None, 'key="order_id"'),
        (
            [{"a": 1, "b": 2}, {"a": 2, "b": 3}],
            None,
            "# no key: no field that every record has looks like an identifier",
        ),
        ([{"a": "x", "b": 2}, {"a": "y", "b": 3}], [b"x", b"y"], "# key: unique in 2 records, and the record's key"),
        ([{"a": "x", "b": 2}, {"a": "y", "b": 3}], [b'"x"', b'"y"'], 'key="a"'),
        ([{"a": 1, "b": 2}, {"a": 1, "b": 3}], [b'{"a":1,"b":2}', b'{"a":1,"b":3}'], 'key=("a", "b")'),
        ([{"a": 1}, {"a": 2}], [b"x", b"y"], 'keep=("key",)'),
        (
            [{"a": 1}, {"a": 2}],
            [b"x", None],
            "# The record's key isn't in the value: it is kept, in the column _kafka_key.",
        ),
        ([{"a": n} for n in range(99)], [b"?", *(b"%d" % n for n in range(1, 99))], "and the record's key"),
        ([{"id": 1}, {}], None, "# no key: "),
        ([{"id": 1}, {"id": None}], None, "# no key: "),
    ],
)
def test_a_key_is_proposed_or_not(documents: list[dict[str, Any]], keys: list[bytes] | None, said: str) -> None:
    """Unique, never missing, named like an identifier or equal to the record's key; a record sent twice is one."""
    assert said in written(documents, keys=keys)


def test_fields_that_hardly_a_record_has() -> None:
    """Where there are many of them, they are kept together; where they are few, they are fields."""
    documents = [{"url": "/", **({f"utm_{n % 9}": "x"} if n % 4 == 0 else {})} for n in range(400)]
    source = written(documents, "clicks")
    assert "# 9 fields that hardly a record has are kept together, in the column _unknown_fields.\n" in source
    assert 'keep=("unknown",)' in source
    assert "utm" not in source
    source = written([{"url": "/", **({"utm": "x"} if n == 7 else {})} for n in range(400)], "clicks")
    assert "    utm: str | None = None  # absent from 399 of 400\n" in source


def test_names_that_no_class_can_have() -> None:
    """Names of data, thousands of them, or with a quote, are no fields: of the event they are kept, else in a dict."""
    wide = [
        {"id": n, **{f"n{i}": 1 for i in range(n * 100, n * 100 + 100)}, "o": {f"p{n}-{i}": 1 for i in range(9)}}
        for n in range(20)
    ]
    source = written(wide, keys=[b"%d" % n for n in range(20)])
    assert "    o: dict[str, int]  # the names vary\n" in source
    assert 'key="id", keep=("unknown",))' in source
    assert "n100" not in source
    source = written([{'"x_id': n, "a\n_id": n, "o": {'"': 1}} for n in range(20)])
    assert "    o: dict[str, int]  # the names vary\n" in source
    assert "# no key: no field that every record has looks like an identifier\n" in source
    assert "_id" not in source


def test_what_is_no_object_is_counted() -> None:
    """Broken values, values that are no object, and tombstones are said; nothing is inferred from them."""
    sample = sample_of([b'{"a": 1}', b"{", b"[1]", b"\xff", None])
    assert (sample.records, sample.objects, sample.unreadable, sample.tombstones) == (5, 1, 3, 1)
    source = dag_file(sample, "orders", "sales.orders", {"kafka": "other"})
    assert "# 3 of 5 records aren't objects: they become dead letters.\n" in source
    assert "# 1 of 5 records are tombstones: counted, not loaded.\n" in source
    assert 'table="sales.orders"' in source
    assert 'ledger_dag(ORDERS, schedule="@hourly", kafka="other")' in source


def test_formats_are_told_apart() -> None:
    """By most of the records: plain JSON, Kafka Connect's envelope, Debezium's with or without that, and framing."""
    row = {"id": 1, "name": "a"}
    change = {"before": None, "after": row, "source": {"lsn": 7, "file": None}, "op": "c", "ts_ms": 1}
    for document, source, asked in (
        (row, "", ()),
        ({"schema": None, "payload": row}, 'Json(envelope="connect")', ()),
        (change, 'Json(envelope="debezium")', ("__op", "__source_lsn", "__ts_ms")),
        ({"schema": {}, "payload": change}, 'Json(envelope="debezium")', ("__op", "__source_lsn", "__ts_ms")),
    ):
        values = [json.dumps(document).encode(), b"{", json.dumps(document).encode(), None]
        assert framed_with(values) is None
        assert of_json(values)[1:] == (source, asked)
        framed = [value and b"\0\0\0\0\7" + value for value in values]
        assert framed_with(framed)
        assert of_json(framed, framed=True)[1:] == (source.replace("Json", "JsonSchema") or "JsonSchema()", asked)
    assert framed_with([b"\0\0\0\0\7x", b"{}", b"\0\0\0\0\x08y", None]) == b"\0\0\0\0\x08y"
    assert framed_with([b"{}", b"[]", b"\0\0\0\0\x08y"]) is None


def test_avro_has_types_of_its_own() -> None:
    """Decimals, times and ids of Avro are fields of these types, whatever their values; the judge takes them all."""
    schema = avro.record(
        avro.field("id", avro.logical("string", "uuid")),
        avro.field("total", avro.logical("bytes", "decimal", precision=9, scale=2)),
        avro.field("at", avro.logical("long", "timestamp-millis")),
        avro.field("day", ["null", avro.logical("int", "date")]),
        avro.field("rate", "double"),
        avro.field("raw", "bytes"),
        avro.field("tags", {"type": "map", "values": "int"}),
    )
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    values = [
        avro.framed(
            schema,
            {
                "id": uuid.uuid4(),
                "total": Decimal(n),
                "at": at,
                "day": at.date(),
                "rate": n,
                "raw": b"a",
                "tags": {"a": n},
            },
        )
        for n in range(9)
    ]
    schemas = avro.known(schema)
    sample = Sample(AvroDecoding(Avro(), schemas).document, "Avro()")
    sample.add([*values, values[0][:-1], b"{}"], [None] * 11)
    assert sample.unreadable == 2
    source = dag_file(sample, "orders", None, {})
    for line in (
        "id: UUID",
        "total: Annotated[Decimal, Digits(18, 2)]",
        "at: dt.datetime",
        "day: dt.date",
        "rate: float",
    ):
        assert f"    {line}\n" in source
    assert "from topicledger import Avro, Digits, Pipeline\n" in source
    assert Judge(declared(source), schemas).chunk(values).rejected == []


def test_no_value_of_a_person_is_written() -> None:
    """Of free texts, and of what names a person, nothing is in the file."""
    people = [{"email": "ann@example.com", "user": "ann", "said": "Hello you", "name": "Ann"}] * 500
    assert "ann" not in written(people).lower()
