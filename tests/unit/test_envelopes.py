"""JSON within Kafka Connect's envelope or Debezium's: the same rows and the same sentences as without one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topicledger import Json, JsonSchema, Pipeline, SettingsError
from topicledger.events.judge import Judge, Judged


class Customer(msgspec.Struct):
    """A row, without anything of its change."""

    id: str
    visits: int
    name: str | None = None


class Change(msgspec.Struct):
    """A row with all that is asked for of its change."""

    id: str
    op: str = msgspec.field(name="__op")
    name: str | None = None
    lsn: int | None = msgspec.field(default=None, name="__source_lsn")
    at_ms: int | None = msgspec.field(default=None, name="__ts_ms")


PLAIN = Judge(Pipeline(topic="customers", event=Customer, key="id"))
CONNECT = Judge(Pipeline(topic="customers", event=Customer, key="id", format=Json(envelope="connect")))
DEBEZIUM = Judge(Pipeline(topic="customers", event=Customer, key="id", format=Json(envelope="debezium")))
CHANGES = Judge(Pipeline(topic="customers", event=Change, key="id", format=Json(envelope="debezium")))

ROW = b'{"id": "7", "visits": 3, "name": "\xc3\x89va"}'
SOURCE = {"connector": "postgresql", "db": "shop", "lsn": 24023128, "ts_ms": 5}


def connect(payload: bytes) -> bytes:
    return b'{"schema": {"type": "struct", "fields": [{"field": "id"}]}, "payload": ' + payload + b"}"


def change(op: str, before: Any = None, after: Any = None, **other: Any) -> bytes:
    said = {"before": before, "after": after, "source": SOURCE, "op": op, "ts_ms": 6, "transaction": None, **other}
    return json.dumps(said).encode()


def rows(judged: Judged) -> list[dict[str, Any]]:
    assert not judged.rejected
    found: list[dict[str, Any]] = judged.columns.to_pylist()
    return found


def refused(judge: Judge, value: bytes) -> tuple[str, str]:
    ((_, reason),) = judge.chunk([value]).rejected
    return reason.reason, str(reason)


def test_connects_payload_is_the_event() -> None:
    """A value in Connect's envelope is the row of its payload, whatever its schema says, in either order."""
    turned = b'{"payload": ' + ROW + b', "schema": null}'
    plain = rows(PLAIN.chunk([ROW]))
    assert rows(CONNECT.chunk([connect(ROW), turned])) == plain * 2


def test_a_change_is_the_row_that_it_leaves() -> None:
    """Of a creation, an update and a snapshot the row after it is left, of a deletion the row before; nothing else."""
    old, new = {"id": "1", "visits": 1}, {"id": "1", "visits": 2}
    values = [change("c", None, new), change("u", old, new), change("r", None, new), change("d", old, None)]
    assert [row["visits"] for row in rows(DEBEZIUM.chunk(values))] == [2, 2, 2, 1]
    assert DEBEZIUM.chunk(values).unknown_fields == 0


def test_what_a_change_says_is_in_fields_of_their_own() -> None:
    """A log of changes has the operation, the source's position and the time, under Debezium's own flattened names."""
    values = [change("u", {"id": "1"}, {"id": "1", "name": "Ada"}), change("d", {"id": "1", "name": None}, None)]
    both = {"id": "1", "lsn": 24023128, "at_ms": 6}
    assert rows(CHANGES.chunk(values)) == [{**both, "op": "u", "name": "Ada"}, {**both, "op": "d", "name": None}]
    assert rows(CHANGES.chunk(list(map(connect, values)))) == rows(CHANGES.chunk(values))


def test_an_envelope_may_lie_behind_a_frame() -> None:
    """As Connect's JsonSchemaConverter writes changes: the same rows, and sentences as without the frame."""
    pipeline = Pipeline(topic="customers", event=Change, key="id", format=JsonSchema(envelope="debezium"))
    judge, frame = Judge(pipeline), b"\0\0\0\0\7"
    value = change("d", {"id": "1", "name": None}, None)
    assert rows(judge.chunk([frame + value])) == rows(CHANGES.chunk([value]))
    for bad in (value[:-9], b'{"op": "c", "after": {"id": 1}}', ROW):
        assert refused(judge, frame + bad) == refused(CHANGES, bad)
    assert refused(judge, value)[0] == "not_framed"


def test_flattened_changes_are_the_same_event() -> None:
    """What Debezium has flattened itself is the same event in plain JSON."""
    flat = b'{"id": "1", "name": "Ada", "__op": "u", "__source_lsn": 24023128, "__ts_ms": 6}'
    plain = Judge(Pipeline(topic="customers", event=Change, key="id"))
    assert rows(plain.chunk([flat])) == rows(CHANGES.chunk([change("u", None, {"id": "1", "name": "Ada"})]))


def test_what_the_envelope_lacks_is_unset() -> None:
    """A change without a source, or with one that lacks the field, has the field's default."""
    values = [change("c", None, {"id": "1"}, source=None), change("c", None, {"id": "1"}, source={"db": "x"})]
    assert [row["lsn"] for row in rows(CHANGES.chunk(values))] == [None, None]


@pytest.mark.parametrize("judge", [CONNECT, DEBEZIUM], ids=["connect", "debezium"])
@pytest.mark.parametrize(
    "row",
    [
        b'{"id": "7", "visits": "3"}',
        b'{"id": "7"}',
        b'{"id": 7, "visits": 3}',
        b'{"id": "7", "visits": 9223372036854775808}',
        b'{"id": "a\\u0000b", "visits": 1}',
        b"[]",
        b"7",
        b"{}",
        b"{ }",
    ],
)
def test_a_wrong_value_has_the_sentence_of_plain_json(judge: Judge, row: bytes) -> None:
    """What is wrong in a row is said as it is without an envelope, the same path in it."""
    value = connect(row) if judge is CONNECT else b'{"op": "c", "before": null, "after": ' + row + b"}"
    assert refused(judge, value) == refused(PLAIN, row)


def test_unknown_fields_are_those_of_the_row() -> None:
    """Fields that the event type lacks are counted in the row, not in its envelope."""
    row = b'{"id": "7", "visits": 3, "new": {"a": 1}}'
    for judge, value in ((CONNECT, connect(row)), (DEBEZIUM, b'{"op": "c", "after": ' + row + b', "source": {}}')):
        assert judge.chunk([value]).unknown_fields == PLAIN.chunk([row]).unknown_fields == 1
    assert CHANGES.chunk([change("c", None, {"id": "1", "more": 2})]).unknown_fields == 1


@pytest.mark.fault(166, "dead letter")
@pytest.mark.parametrize(
    ("judge", "value", "reason", "says"),
    [
        (CONNECT, ROW, "not_an_envelope", "schema and payload: it is an object of id, visits, name"),
        (CONNECT, b'{"payload": {"id": "1"}}', "not_an_envelope", "it is an object of payload"),
        (CONNECT, change("c", None, {}), "not_an_envelope", "of before, after, source, op, ts_ms, transaction"),
        (CONNECT, b"[1]", "not_an_envelope", "it is [1]"),
        (CONNECT, connect(b"null"), "invalid_event", "Expected `object`, got `null`"),
        (DEBEZIUM, ROW, "not_an_envelope", "op, before and after: it is an object of id, visits, name"),
        (DEBEZIUM, connect(ROW), "not_an_envelope", "it is an object of schema, payload"),
        (DEBEZIUM, b'{"op": "c"}', "not_an_envelope", "it is an object of op"),
        (DEBEZIUM, b'{"after": {"id": "1"}}', "not_an_envelope", "it is an object of after"),
        (DEBEZIUM, b"{}", "not_an_envelope", "it is an object of nothing"),
        (DEBEZIUM, b'{"a\\u0000": 1}', "not_an_envelope", "an object of a\\u0000"),
        (DEBEZIUM, change("t"), "no_row", 'its op is "t"'),
        (DEBEZIUM, b'{"op": "\xff", "before": null}', "no_row", "its op is"),
        (DEBEZIUM, b"", "empty_value", "no bytes"),
        (DEBEZIUM, change("c", None, {"id": "1"})[:-9], "invalid_json", "column"),
        (CONNECT, b'{"schema": null, "payload": {"id": "1", "visits": oops}}', "invalid_json", "column 51 (char 50)"),
        (CONNECT, connect(b'{"id": "\xff"}'), "invalid_utf8", "start byte at byte 79"),
        (DEBEZIUM, b'{"op": "c", "after": {"id": "\\ud800"}}', "invalid_json", "column"),
        (CONNECT, connect(b"[" * 10_000 + b"]" * 10_000), "too_deep", "nested too deeply"),
        (DEBEZIUM, b'{"op": "c", "after": {"x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}}", "too_deep", "nested"),
    ],
)
def test_what_has_no_envelope_says_what_it_is_instead(judge: Judge, value: bytes, reason: str, says: str) -> None:
    """A value without the envelope, without a row in it or that is no JSON is a dead letter that says so."""
    found, sentence = refused(judge, value)
    assert found == reason
    assert says in sentence


def test_an_envelope_is_one_of_two() -> None:
    """Another word is refused when the format is declared."""
    with pytest.raises(SettingsError, match="envelope is 'Debezium': use 'connect', 'debezium', or None"):
        Json(envelope="Debezium")  # type: ignore[arg-type]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("op"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["op", "before", "after", "source", "lsn", "payload", "schema", "id", "__op"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
_values = _json.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(_values | st.tuples(_values, st.integers(0, 99)).map(lambda cut: cut[0][: cut[1]]), max_size=6))
def test_whatever_the_bytes_a_record_is_a_row_or_a_dead_letter(values: list[bytes]) -> None:
    """Any document and any bytes, in both envelopes."""
    for judge in (CONNECT, CHANGES):
        judged = judge.chunk(values)
        assert judged.columns.num_rows + len(judged.rejected) == len(values)
