"""Headers as any client may send them: names that are no text, names and values of any size."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.support.looking import query
from tests.support.raw_headers import RawHeaders, produce_raw
from tests.support.records import good, sign_ups
from tests.support.steps import Case, OneRun, run_steps
from topicledger.kafka import headers

NAME = b"caf\xe9"


def dead_letters(case: Case) -> list[tuple[bytes, Any]]:
    """Value and headers of each dead letter of partition 0, by its offset."""
    table = f"{case.pipeline.table}_dead_letters"
    found = query(
        case.place,
        f'SELECT d."value", CAST(headers AS varchar) FROM {table} d WHERE _kafka_partition = 0 ORDER BY _kafka_offset',
    )
    return [(bytes(value), json.loads(text)) for value, text in found]


@pytest.mark.fault(106, "goes on")
def test_names_that_are_not_utf_8(case: Case) -> None:
    """Such records are judged as any other; a dead letter has each header, with the bytes of a name that isn't text."""
    plain: RawHeaders = [(b"plain", b"\xff"), (b"", b""), ("naïve".encode(), None)]
    odd: RawHeaders = [
        (NAME, b"1"),
        (b"plain", b"2"),
        (b"\xff\xfe", None),
        (b"\\xe9", b""),
        (b"\xed\xa0\x80", b"3"),
        (NAME, b"4"),
    ]
    case.send(sign_ups(range(50), partitions=2))
    produce_raw(
        case.topics.bootstrap,
        case.topic,
        [
            (b"k", b"no JSON", plain),
            (None, good(100), odd),
            (b"k", b"?", odd),
            (None, None, odd),
            (b"k", b"no JSON", plain),
        ],
    )
    case.send(sign_ups(range(200, 250), partitions=2))
    accounts = run_steps(case).accounts
    assert (accounts.loaded, accounts.dead_letters, accounts.tombstones) == (101, 3, 1)
    case.oracle().require_every_record_once()
    first, second, third = dead_letters(case)
    assert first == third == (b"no JSON", [["plain", "/w=="], ["", ""], ["naïve", None]])
    assert second == (
        b"?",
        [
            ["caf\\xe9", encoded(b"1"), encoded(NAME)],
            ["plain", encoded(b"2")],
            ["\\xff\\xfe", None, encoded(b"\xff\xfe")],
            ["\\xe9", ""],
            ["\\xed\\xa0\\x80", encoded(b"3"), encoded(b"\xed\xa0\x80")],
            ["caf\\xe9", encoded(b"4"), encoded(NAME)],
        ],
    )


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.fault(106, "goes on")
def test_such_names_while_a_receipt_is_checked(duckdb_case: Case) -> None:
    """Among the records that the run itself produced they hold up nothing, and aren't taken for its own."""
    case = duckdb_case
    run = OneRun(case)
    run.produce((b"k", good(number)) for number in range(30))
    produce_raw(case.topics.bootstrap, case.topic, [(None, good(100 + n), [(NAME, b"1")]) for n in range(600)])
    accounts = run.finish()
    assert (accounts.loaded, accounts.acked, accounts.acked_seen) == (630, 30, 30)
    case.oracle().require_every_record_once()


@pytest.mark.fault(106, "goes on")
def test_a_client_whose_headers_cannot_be_reached(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another build of the client the record is judged as any other, and its dead letter says what is missing."""
    monkeypatch.setattr(headers, "_place_of_raw_headers", lambda: None)
    case = duckdb_case
    odd = [(NAME, b"1"), (b"plain", b"2")]
    produce_raw(case.topics.bootstrap, case.topic, [(None, b"?", odd), (None, b"??", odd[1:]), (None, good(1), odd)])
    accounts = run_steps(case).accounts
    assert (accounts.loaded, accounts.dead_letters) == (1, 2)
    case.oracle().require_every_record_once()
    (_, [[said, nothing]]), plain = dead_letters(case)
    assert "isn't UTF-8" in said
    assert nothing is None
    assert plain == (b"??", [["plain", encoded(b"2")]])


def test_the_installed_client_can_be_read() -> None:
    """Messages of the installed client keep their raw headers where they are looked for."""
    assert headers._place_of_raw_headers() is not None
