"""`topicledger check` proves a declaration on the topic's newest records, and leaves nothing behind."""

from __future__ import annotations

import json

from tests.support.command import Command, connected, problems
from tests.support.looking import contents
from tests.support.records import Record, event_id, sign_ups
from tests.support.steps import Case


def test_an_empty_topic(command: Command, duckdb_case: Case) -> None:
    """It is said that the declaration was tried on no record; the columns are shown all the same."""
    connected(command, duckdb_case)
    ran = command("check")
    assert problems(ran) == []
    assert f"topic {duckdb_case.topic} has no record yet: the declaration was tried on none" in ran.out
    assert json.loads(command("check", "--json").out).popitem()[1]["sample"]["records"] == 0


def test_columns_rows_and_dead_letters(command: Command, duckdb_case: Case) -> None:
    """Each column with its type there and its field, three rows as they would be, and why others could not be."""
    case = duckdb_case
    connected(command, case)
    bad = [Record(b"{"), Record(b'{"event_id": 7}'), Record(b"["), Record(None)]
    case.send([*sign_ups(range(20), 2), *bad, *sign_ups([3], 2)])
    before = contents(case.place, None)
    ran = command("check")
    assert problems(ran) == []
    assert contents(case.place, None) == before
    assert "of the newest 25 records 21 would be rows, 1 are tombstones, 3 (12.0%) dead letters" in ran.out
    assert "note     2 invalid_json, first 0:10: " in ran.out
    assert "1 of the rows repeat a event_id, all with the same values" in ran.out
    lines = {
        line.split()[0]: line.split() for line in ran.out.splitlines() if line and not line.startswith(("ok", "note"))
    }
    assert lines["event_id"][1:4] == ["UUID", "no", "event_id"]
    assert lines["full_name"][1:4] == ["VARCHAR", "yes", "full_name"]
    assert lines["email_domain"][3:5] == ["the", "clean-up"]
    assert lines["email_domain"][-3:] == ["example.com"] * 3
    document = json.loads(command("check", "--json").out).popitem()[1]
    assert document["columns"][0] == {"name": "event_id", "type": "UUID", "nullable": False, "from": "event_id"}
    sample = document["sample"]
    assert (sample["rows"], sample["dead_letters"], sample["repeated_keys"], sample["conflicts"]) == (21, 3, 1, 0)
    assert [(r["reason"], r["records"], r["offset"]) for r in sample["reasons"]][:1] == [("invalid_json", 2, 10)]
    assert len(sample["shown"]) == 3
    assert sample["shown"][0]["event_id"] in {event_id(number) for number in range(20)}


def test_a_wrong_declaration(command: Command, duckdb_case: Case) -> None:
    """A sample that is mostly dead letters is a problem, by its three commonest reasons with a record of each."""
    case = duckdb_case
    connected(command, case, error_budget=None)
    case.send([*sign_ups(range(9)), *(Record(b"{") for _ in range(120))])
    (problem,) = problems(command("check"))
    assert "of the newest 129 records 9 would be rows, and 120 (93.0%) dead letters, more than the error bud" in problem
    assert "120 invalid_json, first 0:9: " in problem


def test_an_invented_key(command: Command, duckdb_case: Case) -> None:
    """Rows that repeat the key with other values are counted, before any of them is dropped as a duplicate."""
    case = duckdb_case
    connected(command, case, key="country")
    case.send(sign_ups(range(8)))
    assert (
        "7 of the rows repeat a country, 7 with other values: they would be counted as duplicates"
        in command("check").out
    )
