"""Everything that a producer may send, in one batch: each record ends up where it belongs, with its bytes."""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.bad_records import BAD, Bad
from tests.support.looking import query
from tests.support.oracle import Verdict
from tests.support.records import Record, event_id, good
from tests.support.steps import Case, OneRun, run_steps

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
TEXTS = (
    "line\nbreak", "before\n\\.\nbehind", "carriage\r\nreturn", "lone\rreturn", 'quo"ted', '"', '""', "com,ma",
    "semi;colon", "back\\slash", "\\", "\\.", "\\N", "NULL", "null", "tab\tbed",
    "u\u2028u", "u\u2029u", "u\u0085u", "'", "''", "$$", "%s", "{0}",
    "NaN", "\\x41", "\\u0041", "crab 🦀", "e\u0301", "\u202eright to left", "\x01control\x1fcharacters\x7f",
    "\ufeffbom inside", "\u200bzero width\u2060",
)  # fmt: skip
FORMULAS = ("=cmd|' /C calc'!A0", "=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x")', "|", "%0A=1")
LARGE = "x" * 3_000_000
KEY, HEADERS = b"\xff\x00key", [("trace", b"\x00\xff"), ("nothing", None), ("trace", b"")]


@dataclass(frozen=True)
class Loaded:
    """The batch after a whole run."""

    case: Case
    run: OneRun
    verdict: Verdict

    def texts(self, column: str, first: int, count: int = 1) -> list[str]:
        """A text column of the rows whose user_id is one of those numbers."""
        found = query(
            self.case.place,
            f"SELECT {column} FROM user_signups WHERE user_id BETWEEN {first} AND {first + count - 1} ORDER BY user_id",
        )
        return [name for (name,) in found]


def _everything() -> list[Record]:
    """All kinds that need no client of their own; duplicates lie so that read order isn't coordinate order."""
    texts = [Record(good(1_000 + n, username=text, full_name=f"<{text}>")) for n, text in enumerate(TEXTS)]
    texts += [Record(good(2_000 + n, username=text, full_name=text)) for n, text in enumerate(FORMULAS)]
    return [
        Record(good(1, username="in partition 1, sent first"), partition=1),
        *(Record(bad.value, bad.name.encode()) for bad in BAD),
        *texts,
        Record(good(1, username="in partition 0, sent later")),
        Record(good(1, username="in partition 0, sent last")),
        Record(good(2), partition=0),
        Record(good(2), partition=1),
        Record(None, b"tombstone"),
        Record(None, None, partition=1),
        Record(b"", None),
        Record(good(3), None),
        Record(good(4, first_unknown=1, second_unknown={"a": [None]}), partition=1),
        Record(good(5, username=LARGE), partition=1),
        Record(b"?" + LARGE.encode(), partition=1),
        Record(b"with key and headers", KEY, 1, HEADERS),
        Record(good(6), partition=1, timestamp_ms=1),
        Record(good(7), partition=1, timestamp_ms=253_402_300_800_000),
        Record(good(8, username="last").replace(b'"user_id": 8', b'"user_id": 0, "username": "first", "user_id": 8')),
        Record(good(10, full_name=None)),
        Record(good(11, full_name="")),
        Record(good(12, full_name=" \t")),
        Record(good(13, full_name=" N. N. ")),
        Record(good(14, signed_up_at="2025-12-31T23:30:00.5-01:00")),
    ]


@pytest.fixture(scope="module")
def loaded(module_case: Case) -> Loaded:
    case = module_case
    case.send(_everything())
    for number, codec in enumerate(CODECS):
        case.send([Record(good(100 + number)), Record(b"?" + codec.encode())], **{"compression.type": codec})
    run = run_steps(case)
    return Loaded(case, run, case.oracle().require_every_record_once())


@pytest.mark.fault(52, "dead letter")
@pytest.mark.fault(53, "dead letter")
@pytest.mark.fault(54, "dead letter")
@pytest.mark.fault(56, "dead letter")
@pytest.mark.fault(57, "dead letter")
@pytest.mark.fault(58, "dead letter")
@pytest.mark.fault(60, "dead letter")
@pytest.mark.fault(61, "dead letter")
@pytest.mark.fault(63, "dead letter")
@pytest.mark.fault(150, "dead letter")
@pytest.mark.parametrize("bad", BAD, ids=[f"{bad.row} {bad.name}" for bad in BAD])
def test_bad_record(loaded: Loaded, bad: Bad) -> None:
    """A bad record becomes one dead letter with the reason, the place where it breaks, and its exact bytes."""
    key = bad.name.encode().hex()
    hexed = f"'\\x{key}'" if loaded.case.place.conn_type == "postgres" else f"from_hex('{key}')"
    [(reason, error, value)] = query(
        loaded.case.place, f'SELECT reason, error, "value" FROM user_signups_dead_letters WHERE "key" = {hexed}'
    )
    assert (reason, bytes(value)) == (bad.reason, bad.value)
    assert bad.says in error


def test_there_are_bad_records_of_every_kind() -> None:
    """The bad records are of all the kinds that the test of them stands for, several of each but of the empty value."""
    assert Counter(bad.row for bad in BAD) >= Counter([52, 53, 54, 56, 57, 60, 61, 63, 150] * 2 + [58, 62])


def test_the_books_of_everything(loaded: Loaded) -> None:
    """Every kind is counted where it belongs."""
    accounts = loaded.run.accounts
    others = 3  # a large one, one with key and headers, an empty one without a key
    assert accounts.dead_letters == len(BAD) + others + len(CODECS)
    assert (accounts.tombstones, accounts.duplicates, accounts.conflicts) == (2, 3, 2)
    assert accounts.loaded == len(TEXTS) + len(FORMULAS) + len(CODECS) + 13
    assert accounts.unknown_fields == 2 + 1  # the renamed field of a bad record counts too


@pytest.mark.fault(62, "counted")
def test_no_value_no_key_and_nothing_in_the_value(loaded: Loaded) -> None:
    """A null value is counted as a tombstone, with a key or without; a null key is fine; an empty value is not."""
    verdict = loaded.verdict
    assert loaded.run.accounts.tombstones == len(verdict.tombstones) == 2
    assert loaded.texts("username", 3) == ["user3"]
    found = query(
        loaded.case.place, 'SELECT "key", "value" FROM user_signups_dead_letters WHERE reason = \'empty_value\''
    )
    assert sorted((key is None, bytes(value)) for key, value in found) == [(False, b""), (True, b"")]


@pytest.mark.fault(64, "goes on")
def test_texts_round_trip(loaded: Loaded) -> None:
    """Line breaks, quotes, separators, backslashes and their like come back as they were sent, whole or inside."""
    assert loaded.texts("username", 1_000, len(TEXTS)) == list(TEXTS)
    assert loaded.texts("full_name", 1_000, len(TEXTS)) == [f"<{text}>" for text in TEXTS]


@pytest.mark.fault(65, "goes on")
def test_formulas_are_texts(loaded: Loaded) -> None:
    """What a spreadsheet would run is stored as it was sent; nothing is put before it, nothing taken away."""
    assert loaded.texts("username", 2_000, len(FORMULAS)) == list(FORMULAS)
    assert loaded.texts("full_name", 2_000, len(FORMULAS)) == list(FORMULAS)


def test_null_and_empty_stay_different(loaded: Loaded) -> None:
    """NULL stays NULL, the empty text stays empty, and trimming to nothing gives the empty text."""
    found = query(
        loaded.case.place, "SELECT full_name FROM user_signups WHERE user_id BETWEEN 10 AND 13 ORDER BY user_id"
    )
    assert found == [(None,), ("",), ("",), ("N. N.",)]


@pytest.mark.fault(66, "counted")
def test_lowest_coordinates_win(loaded: Loaded) -> None:
    """Of one event_id the record of the lowest partition, then offset, is loaded; the others are counted."""
    assert loaded.texts("username", 1) == ["in partition 0, sent later"]
    accounts = loaded.run.accounts
    assert (accounts.duplicates, accounts.conflicts) == (len(loaded.verdict.duplicates), 2) == (3, 2)


@pytest.mark.fault(59, "goes on")
def test_large_records(loaded: Loaded) -> None:
    """A text of 3 MB, where the topic takes it, is loaded whole, and as a dead letter it keeps all its bytes."""
    assert loaded.texts("username", 5) == [LARGE]

    found = query(
        loaded.case.place,
        f'SELECT COUNT(*) FROM user_signups_dead_letters WHERE octet_length("value") = {len(LARGE) + 1}',
    )
    assert found == [(1,)]


def test_key_and_headers_of_a_dead_letter(loaded: Loaded) -> None:
    """A dead letter keeps its record's key and headers byte for byte, and a repeated header twice."""
    found = query(
        loaded.case.place,
        'SELECT "key", CAST(headers AS varchar) FROM user_signups_dead_letters '
        'WHERE _kafka_partition = 1 AND "key" IS NOT NULL',
    )
    [(key, headers)] = found
    assert bytes(key) == KEY
    assert [(name, _decoded(value)) for name, value in json.loads(headers)] == HEADERS


def _decoded(value: str | None) -> bytes | None:
    return None if value is None else base64.b64decode(value)


@pytest.mark.parametrize("codec", CODECS)
def test_compression(loaded: Loaded, codec: str) -> None:
    """Records of each compression codec are read."""
    assert loaded.texts("username", 100 + CODECS.index(codec)) == [f"user{100 + CODECS.index(codec)}"]


def test_times(loaded: Loaded) -> None:
    """Kafka's timestamp is kept where a table can hold it, and is NULL where it can't; the record is kept."""
    micros = {"postgres": "CAST(extract(epoch FROM {}) * 1000000 AS bigint)", "duckdb": "epoch_us({})"}
    read = micros[loaded.case.place.conn_type]
    found = query(
        loaded.case.place,
        f"SELECT {read.format('_kafka_timestamp')} FROM user_signups WHERE user_id IN (6, 7) ORDER BY user_id",
    )
    assert found == [(1_000,), (None,)]


def test_clean_up_and_derived_columns(loaded: Loaded) -> None:
    """The e-mail is in lower case, its domain and the date in UTC are derived."""
    found = query(
        loaded.case.place,
        "SELECT user_id, email, email_domain, CAST(signup_date AS varchar) FROM user_signups "
        "WHERE user_id IN (8, 14) ORDER BY user_id",
    )
    assert found == [
        (8, "user8@example.com", "example.com", "2026-01-02"),
        (14, "user14@example.com", "example.com", "2026-01-01"),
    ]


@pytest.mark.fault(55, "goes on")
def test_of_a_repeated_key_the_last_wins(loaded: Loaded) -> None:
    """A record that has a key twice is a row with the last value; neither value of the first is anywhere."""
    assert loaded.texts("username", 8) == ["last"]
    assert loaded.texts("username", 0) == []
    found = query(loaded.case.place, f"SELECT user_id FROM user_signups WHERE event_id = '{event_id(8)}'")
    assert found == [(8,)]


def test_each_loaded_value_is_the_sent_one(loaded: Loaded) -> None:
    """A loaded row has every field of its record, its own coordinates and the batch's id."""
    batch = loaded.run.batch_id
    [row] = query(
        loaded.case.place,
        "SELECT CAST(event_id AS varchar), username, country, plan, source, marketing_opt_in, _batch_id "
        "FROM user_signups WHERE user_id = 3",
    )
    expected: tuple[Any, ...] = (event_id(3), "user3", "DE", "free", "ads", True, batch)
    assert row == expected


@pytest.mark.fault(66, "counted")
def test_the_earlier_batch_wins(case: Case) -> None:
    """An event_id that an earlier batch has is a duplicate, also in lower coordinates; where it differs, a conflict."""
    case.send([Record(good(1, username="first"), partition=1), Record(good(2), partition=1)])
    run_steps(case, "manual__1")
    case.send([Record(good(1, username="second")), Record(good(2)), Record(good(3))])
    accounts = run_steps(case, "manual__2").accounts
    assert (accounts.loaded, accounts.duplicates, accounts.conflicts) == (1, 2, 1)
    assert query(case.place, "SELECT username FROM user_signups WHERE user_id = 1") == [("first",)]
    case.oracle().require_every_record_once()
