"""A pipeline's declaration is validated when it is made, before the first record."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from topicledger.errors import SettingsError
from topicledger.pipeline import Column
from topicledger.signups import SIGNUPS


@pytest.mark.parametrize(
    "name", ['x"; DROP TABLE y; --', "", "1st", "with space", "user_sıgnups", "schema.", "a" * 49, "t\n", "a.b c"]
)
def test_names_that_are_no_identifiers(name: str) -> None:
    """A table or column is named by letters, digits and underscores, whatever quoting would allow."""
    with pytest.raises(SettingsError, match="is not usable as a table or column name"):
        dataclasses.replace(SIGNUPS, table=name)
    if "." not in name:
        with pytest.raises(SettingsError, match="is not usable as a table or column name"):
            dataclasses.replace(SIGNUPS, columns=(*SIGNUPS.columns, Column(name, "text")))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"topic": "no topic"}, "not a valid Kafka topic name"),
        ({"table": "a.b.c"}, "use `table` or `schema.table`"),
        ({"columns": (*SIGNUPS.columns, SIGNUPS.columns[0])}, "declares a column twice"),
        ({"columns": (*SIGNUPS.columns, Column("_batch_id", "text"))}, "belong to the engine"),
        ({"key": "nothing"}, "is not one of the columns"),
        ({"key": "full_name"}, "may be NULL"),
        ({"origin": "newest"}, "use 'earliest' or 'latest'"),
        ({"max_records": 0}, "use a positive number"),
        ({"staging_dir": "staging"}, "is not an absolute path"),
    ],
)
def test_a_declaration_that_cannot_work(changes: dict[str, Any], says: str) -> None:
    """What can't work is a SettingsError that says what to use."""
    with pytest.raises(SettingsError, match=says):
        dataclasses.replace(SIGNUPS, **changes)
