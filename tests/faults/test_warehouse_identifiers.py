"""Names from a declaration that try to be SQL, or another name: refused before anything is opened."""

from __future__ import annotations

import dataclasses

import pytest

from topicledger.columns import Column
from topicledger.errors import SettingsError
from topicledger.signups import SIGNUPS

HOSTILE = [
    'x"; DROP TABLE user_signups; --',
    "x'; DROP TABLE user_signups; --",
    "user_ѕignups",  # a Cyrillic letter that looks like an s
    "user_signups\u200b",  # with an invisible space
    "ｕser_signups",
    "user_signups\n",
    "user signups",
    "1user",
    "",
    "u" * 49,  # with the dead letters' ending it would pass the 63 bytes that PostgreSQL keeps
    "u" * 64,
    "ü",
    "%s",
    "{}",
    "a\0b",
]


@pytest.mark.fault(73, "stopped")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(name: str) -> None:
    """As table, schema, column or key such a name ends the declaration, with the name in the message."""
    column = Column(name, "text")
    for change in (
        {"table": name},
        {"table": f"{name}.user_signups"},
        {"table": f"public.{name}"},
        {"columns": (*SIGNUPS.columns, column)},
        {"columns": (*SIGNUPS.columns, column), "key": name},
    ):
        with pytest.raises(SettingsError, match="is not usable as a table or column name") as refused:
            dataclasses.replace(SIGNUPS, **change)
        assert repr(name) in str(refused.value)


@pytest.mark.fault(73, "stopped")
def test_a_name_of_three_parts() -> None:
    """A table is `table` or `schema.table`; another database can't be reached by a third part."""
    with pytest.raises(SettingsError, match=r"use `table` or `schema\.table`"):
        dataclasses.replace(SIGNUPS, table="other.public.user_signups")
