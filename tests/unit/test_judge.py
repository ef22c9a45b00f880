"""The judge: whatever the bytes, each value gets exactly one verdict, and nothing is raised."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.bad_records import BAD, Bad
from tests.support.oracle import is_blank, require_rules
from tests.support.records import event_id, good, sign_up
from topicledger.columns import Column
from topicledger.errors import SettingsError
from topicledger.events.judge import Judge, Judged
from topicledger.pipeline import Check, CleanUp, Pipeline
from topicledger.signups import SIGNUPS

JUDGE = Judge(SIGNUPS)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _damaged(value: bytes, place: int, replacement: bytes) -> bytes:
    at = place % (len(value) + 1)
    return value[:at] + replacement + value[at + len(replacement) :]


documents = json_values.map(_json)
nearly_good = st.builds(
    lambda field, value: _json({**sign_up(1), field: value}), st.sampled_from(sorted(sign_up(1))), json_values
)
damaged = st.builds(_damaged, nearly_good | st.just(good(1)), st.integers(0, 500), st.binary(max_size=4))
values = st.binary(max_size=60) | documents | nearly_good | damaged | st.sampled_from([bad.value for bad in BAD])


def require_one_verdict_each(judged: Judged, chunk: Sequence[bytes]) -> None:
    rejected = [index for index, _ in judged.rejected]
    assert rejected == sorted(set(rejected) & set(range(len(chunk))))
    assert judged.columns.num_rows + len(rejected) == len(chunk)
    assert judged.columns.schema.names == [column.name for column in SIGNUPS.columns]


@given(st.lists(values, max_size=12))
def test_every_value_gets_one_verdict(chunk: list[bytes]) -> None:
    """Of any bytes each value is either accepted or rejected, in order, and the judge never raises."""
    require_one_verdict_each(JUDGE.chunk(chunk), chunk)


@given(st.lists(values, max_size=8))
def test_verdicts_do_not_depend_on_the_neighbours(chunk: list[bytes]) -> None:
    """A value's verdict in a chunk is the one that it gets alone."""
    together = JUDGE.chunk(chunk)
    rejected = {index: str(reason) for index, reason in together.rejected}
    for index, value in enumerate(chunk):
        alone = JUDGE.chunk([value])
        assert [str(reason) for _, reason in alone.rejected] == ([rejected[index]] if index in rejected else [])


@given(st.lists(values, max_size=8))
def test_what_a_dead_letter_says_can_be_stored(chunk: list[bytes]) -> None:
    """A reason is a short code, and its sentence is text that every warehouse can hold, of bounded length."""
    for _, reason in JUDGE.chunk(chunk).rejected:
        assert reason.reason.replace("_", "").isalnum()
        assert len(reason.reason) < 30
        assert "\0" not in str(reason)
        assert 0 < len(str(reason).encode()) < 4_000


@given(st.lists(values, max_size=8))
def test_accepted_texts_can_be_stored(chunk: list[bytes]) -> None:
    """No accepted row has U+0000 in a text, a NULL in a column that has none, or a time that no table can hold."""
    for row in JUDGE.chunk(chunk).columns.to_pylist():
        assert not any("\0" in value for value in row.values() if isinstance(value, str))
        assert all(row[column.name] is not None for column in SIGNUPS.columns if not column.nullable)
        assert 1 <= row["signed_up_at"].year <= 9999
        require_rules(row["username"], row["email"])


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_bad_value(bad: Bad) -> None:
    """Each kind of bad value is rejected with its reason and with the place where it breaks."""
    [(index, reason)] = JUDGE.chunk([bad.value]).rejected
    assert (index, reason.reason) == (0, bad.reason)
    assert bad.says in str(reason)


@pytest.mark.parametrize(
    "value",
    [
        b" ",
        b"x",
        b"{",
        b"{}x",
        b"{} x",
        b'{"a":1}\n\n  {"a":1}',
        b"1 2",
        b"[1,",
        b"[,1]",
        b'{"a" 1}',
        "{'é': 1}".encode(),
    ],
)
def test_json_breaks_where_the_standard_library_says(value: bytes) -> None:
    """Line and column of broken JSON are those of Python's own JSONDecodeError."""
    [(_, reason)] = JUDGE.chunk([value]).rejected
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(value)
    assert reason.reason == "invalid_json"
    assert str(reason).endswith(str(expected.value).partition(": ")[2])


def test_unknown_fields_are_counted_and_kept_out() -> None:
    """Fields that the event doesn't have are counted over the chunk, and a row has only the declared columns."""
    judged = JUDGE.chunk([good(1, x=1, y={"z": [1]}), good(2), good(3, x=None)])
    assert judged.unknown_fields == 3
    assert judged.columns.num_rows == 3
    assert judged.columns.schema.names == [column.name for column in SIGNUPS.columns]


def test_clean_up_and_derived_columns() -> None:
    """Texts are trimmed, e-mail is in lower case, the domain and the date in UTC are derived."""
    [row] = JUDGE.chunk(
        [good(1, email=" A@B.EXAMPLE ", full_name=" ", signed_up_at="2026-01-01T00:30:00+01:00")]
    ).columns.to_pylist()
    assert (row["email"], row["email_domain"], row["full_name"]) == ("a@b.example", "b.example", "")
    assert str(row["signup_date"]) == "2025-12-31"


def test_which_characters_are_blank() -> None:
    """Of all characters, a name of a blank one alone is refused; around an address stands what is trimmed, no other."""
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    name, address = (check.pattern for check in SIGNUPS.checks)
    named = pc.match_substring_regex(pa.array(characters), name).to_pylist()
    assert [character for character, match in zip(characters, named, strict=True) if not match] == [
        character for character in characters if is_blank(character)
    ]
    texts = pa.array([f"{character}a@b{character}" for character in characters])
    around = pc.match_substring_regex(texts, address).to_pylist()
    trimmed = pc.utf8_trim_whitespace(texts).to_pylist()
    for character, match, text in zip(characters, around, trimmed, strict=True):
        assert match == (text == "a@b" or not (is_blank(character) or character == "@"))


def test_blanks_that_are_no_ascii_are_trimmed() -> None:
    """White space is trimmed as Unicode has it; what has no width stays where a name shows something."""
    [row] = JUDGE.chunk(
        [good(1, username="\u3000\u200bAda\u200d\u00a0", email="\x0b\u2003Ada@B.example\x85")]
    ).columns.to_pylist()
    assert (row["username"], row["email"]) == ("\u200bAda\u200d", "ada@b.example")


class Ruled(msgspec.Struct):
    """An event with rules of each kind, which its clean-up can undo."""

    id: str
    name: str = "x"
    code: Annotated[str, msgspec.Meta(min_length=1, description="never empty")] = "x"
    word: Annotated[str, msgspec.Meta(pattern=r"^(?=\s*\w)")] | None = None
    count: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    digits: str = "0"
    mark: Annotated[str, msgspec.Meta(min_length=1)] = "x"


def _trimmed(columns: Mapping[str, pa.Array[Any]]) -> dict[str, pa.Array[Any]]:
    trimmed = {name: pc.utf8_trim_whitespace(columns[name]) for name in ("name", "code", "digits")}
    word = pc.if_else(
        pc.equal(columns["word"], pa.scalar("none")), None, pc.replace_substring(columns["word"], "a", "!")
    )
    count = pc.multiply(columns["count"], pa.scalar(2))
    return {**columns, **trimmed, "word": word, "count": count, "digits": trimmed["digits"].cast(pa.int64())}


RULED = Pipeline(
    name="ruled",
    topic="ruled",
    event=Ruled,
    columns=(
        Column("id", "text"),
        Column("name", "text"),
        Column("code", "text"),
        Column("word", "text", nullable=True),
        Column("count", "int64"),
        Column("digits", "int64"),
    ),
    key="id",
    table="ruled",
    clean=_trimmed,
    checks=(Check("name", r"\S", "is blank"), Check("digits", r"^\s*\d+\s*$", "is no number")),
)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "\u3000"}, "name '' is blank after the clean-up"),
        ({"name": " "}, "name ' ' is blank"),
        ({"code": "\u00a0\t"}, "code '' after the clean-up: Expected `str` of length >= 1"),
        ({"word": "apple"}, "word '!pple' after the clean-up: Expected `str` matching regex"),
        ({"count": 6}, "count 12 after the clean-up: Expected `int` <= 10"),
        ({"digits": "\u3000"}, "digits '\\u3000' is no number"),
    ],
)
def test_rules_hold_for_what_the_clean_up_makes(changes: dict[str, Any], says: str) -> None:
    """What a clean-up makes of a field keeps the field's checks and bounds, or the record is a dead letter."""
    judged = Judge(RULED).chunk([_json({"id": "a", **changes}), _json({"id": "b"})])
    assert [(index, reason.reason, str(reason)[: len(says)]) for index, reason in judged.rejected] == [
        (0, "invalid_event", says)
    ]
    assert judged.columns.column(0).to_pylist() == ["b"]


def test_rules_leave_null_and_other_types_alone() -> None:
    """What the clean-up has made NULL breaks no rule, nor does a column of another type, or none of that name."""
    judged = Judge(RULED).chunk([_json({"id": "a", "word": "none", "count": 5, "digits": " 12 ", "mark": " "})])
    [row] = judged.columns.to_pylist()
    assert (row["word"], row["count"], row["digits"]) == (None, 10, 12)


def test_a_key_that_is_too_long_in_all() -> None:
    """The columns of a key have one index, which holds 2,000 bytes of all their texts; without a key there is none."""
    values = [_json({"id": "x" * len(name), "name": name}) for name in ("y" * 1_000, "y" * 1_001, "\u00e9" * 667)]
    judged = Judge(dataclasses.replace(RULED, key=("id", "count", "name"))).chunk(values)
    says = "the key id, count, name has more than the 2000 bytes that a unique index can hold"
    assert [(index, reason.reason, str(reason)) for index, reason in judged.rejected] == [
        (1, "out_of_range", says),
        (2, "out_of_range", says),
    ]
    assert not Judge(dataclasses.replace(RULED, key=None)).chunk(values).rejected


def test_nothing_to_judge() -> None:
    """A chunk of no values gives no rows, with the declared columns."""
    require_one_verdict_each(JUDGE.chunk([]), [])


def test_check_of_an_unknown_field() -> None:
    """A check of a field that the event doesn't have is refused before the first record, and named."""
    pipeline = dataclasses.replace(SIGNUPS, checks=(Check("no_such", ".", "is not"),))
    with pytest.raises(SettingsError, match="no_such"):
        Judge(pipeline)


def test_clean_up_that_leaves_a_column_out() -> None:
    """A clean-up that doesn't give a declared column is a SettingsError that names it."""
    pipeline = dataclasses.replace(SIGNUPS, columns=(*SIGNUPS.columns, Column("score", "int64")))
    with pytest.raises(SettingsError, match="score"):
        Judge(pipeline).chunk([good(1)])


class Loose(msgspec.Struct):
    """An event type without bounds, and with a field that isn't flat."""

    id: str
    count: int
    weight: float = 0.0
    tags: list[str] = []


def _weighed(columns: Mapping[str, pa.Array[Any]]) -> dict[str, pa.Array[Any]]:
    heavy = pc.greater(columns["weight"], pa.scalar(1.0))
    return {**columns, "heavy": pc.if_else(pc.equal(columns["id"], pa.scalar("unclear")), None, heavy)}


LOOSE = Pipeline(
    name="loose",
    topic="loose",
    event=Loose,
    columns=(Column("id", "text"), Column("count", "int64"), Column("heavy", "bool")),
    key="id",
    table="loose",
    clean=_weighed,
)


def test_what_a_column_cant_hold_is_rejected_alone() -> None:
    """A value past its column's range, and one that the clean-up leaves without a value, cost only their own record."""
    judged = Judge(LOOSE).chunk(
        [
            b'{"id":"a","count":1,"weight":2}',
            b'{"id":"b","count":9223372036854775808}',
            b'{"id":"unclear","count":1}',
            b'{"id":"d","count":%s}' % (b"9" * 400),
            b'{"id":"e","count":-9223372036854775808,"tags":["x"]}',
        ]
    )
    assert [(index, reason.reason) for index, reason in judged.rejected] == [
        (1, "out_of_range"),
        (2, "invalid_event"),
        (3, "out_of_range"),
    ]
    assert judged.columns.to_pylist() == [
        {"id": "a", "count": 1, "heavy": True},
        {"id": "e", "count": -(2**63), "heavy": False},
    ]


class Span(msgspec.Struct):
    """An event of which the clean-up makes values that no event has by itself."""

    id: str
    text: str
    at: Annotated[dt.datetime, msgspec.Meta(tz=True)]
    days: Annotated[int, msgspec.Meta(ge=0, le=10**6)]


def _ended(columns: Mapping[str, pa.Array[Any]]) -> dict[str, pa.Array[Any]]:
    end = pc.add(columns["at"], pc.multiply(columns["days"], 86_400 * 1_000_000).cast(pa.duration("us")))
    text = pc.replace_substring(columns["text"], "NUL", "\0")
    return {**columns, "text": text, "end": end, "day": pc.cast(end, pa.date32(), safe=False)}


SPANS = Pipeline(
    name="spans",
    topic="spans",
    event=Span,
    columns=(
        Column("id", "uuid"),
        Column("text", "text"),
        Column("end", "timestamptz"),
        Column("day", "date"),
    ),
    key="id",
    table="spans",
    clean=_ended,
)


@pytest.mark.parametrize(
    ("changes", "reason", "says"),
    [
        ({"id": "00000000"}, "invalid_event", "id '00000000' is not a UUID"),
        ({"id": ""}, "invalid_event", "is not a UUID"),
        ({"id": f"{{{event_id(1)}}}"}, "invalid_event", "is not a UUID"),
        ({"id": event_id(1) + "\n"}, "invalid_event", "is not a UUID"),
        ({"text": "NUL"}, "nul_character", "text contains U+0000"),
        ({"days": 10**6 * 3}, "invalid_event", "$.days"),
        ({"at": "9999-12-31T00:00:00Z", "days": 1}, "out_of_range", "end lies outside"),
    ],
)
def test_what_a_clean_up_makes_or_lets_through_is_judged(changes: dict[str, Any], reason: str, says: str) -> None:
    """A value that the table couldn't take costs its own record only, also when the clean-up made it."""
    fields = {"id": event_id(1), "text": "", "at": "2026-01-01T00:00:00Z", "days": 1}
    judged = Judge(SPANS).chunk([_json(fields), _json({**fields, **changes}), _json(fields)])
    [(index, rejected)] = judged.rejected
    assert judged.columns.num_rows == 2
    assert (index, rejected.reason) == (1, reason)
    assert says in str(rejected)


@pytest.mark.parametrize(
    ("clean", "says"),
    [
        (lambda columns: {"id": columns["gone"]}, "loose failed with KeyError"),
        (lambda columns: {**columns, "heavy": columns["id"].cast(pa.int64())}, "failed with ArrowInvalid"),
        (lambda columns: {name: array[1:] for name, array in _weighed(columns).items()}, "of 2 values for .* id"),
        (lambda columns: {**columns, "heavy": [True, False]}, "an Arrow array of 0 values for the column heavy"),
        (lambda columns: {**columns, "heavy": pa.scalar(True)}, "an Arrow array of 0 values for the column heavy"),
    ],
)
def test_a_clean_up_that_fails_is_a_settings_error(clean: CleanUp, says: str) -> None:
    """Whatever a clean-up raises, or gives in place of its columns, stops the task with a sentence that names it."""
    with pytest.raises(SettingsError, match=says):
        Judge(dataclasses.replace(LOOSE, clean=clean)).chunk([b'{"id":"a","count":1}', b'{"id":"b","count":1}'])


@pytest.mark.parametrize("budget", [-0.01, 1.01, 5, float("nan"), float("inf")])
def test_an_error_budget_is_a_share(budget: float) -> None:
    """A budget that is no share from 0 to 1, such as a percentage, is refused with its value."""
    with pytest.raises(SettingsError, match=f"error_budget is {budget}: use a share from 0 to 1"):
        dataclasses.replace(SIGNUPS, error_budget=budget)


def test_a_declaration_that_cant_hold_is_refused() -> None:
    """A nullable field on a column that isn't, a check on what is no text, a clean-up that gives another type.

    All of it before the first record.
    """
    with pytest.raises(SettingsError, match="full_name may be null"):
        Judge(dataclasses.replace(SIGNUPS, columns=(*SIGNUPS.columns[:4], Column("full_name", "text"))))
    with pytest.raises(SettingsError, match="'user_id', which is no text field"):
        Judge(dataclasses.replace(SIGNUPS, checks=(Check("user_id", "x", "is wrong"),)))
    wrong = dataclasses.replace(LOOSE, clean=lambda columns: {**columns, "heavy": columns["id"]})
    with pytest.raises(SettingsError, match="gives string for the column heavy, which is bool: one record"):
        Judge(wrong)
    wrong = dataclasses.replace(LOOSE, clean=lambda columns: {**columns, "heavy": pa.array([], pa.list_(pa.int64()))})
    with pytest.raises(SettingsError, match="gives values that a column can't hold"):
        Judge(wrong)
