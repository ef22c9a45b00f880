"""What may be unique in every warehouse's table: one column, several together, or nothing. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from topicledger.columns import Column
from topicledger.errors import SettingsError

Key = str | tuple[str, ...] | None
"""A column's name, the names of several that are unique together, or None: nothing is."""

# Values of these aren't equal, or not, in the same way in every warehouse.
_UNEQUAL = ("float64", "json")
# With so many columns and the longest texts a key still fits into PostgreSQL's index.
_MOST_COLUMNS = 16


def key_names(key: Key) -> tuple[str, ...]:
    """The names in a key; none without one."""
    return (key,) if isinstance(key, str) else tuple(key or ())


def require_key(pipeline: str, key: Key, columns: Sequence[Column]) -> None:
    """Do nothing when these columns can be unique.

    Args:
        pipeline: The pipeline's name, for messages.
        key: As it is declared, whatever that is.
        columns: The table's columns.

    Raises:
        SettingsError: They can't.
    """
    given: object = key
    if given is not None and (
        not isinstance(given, str | tuple | list) or not given or not all(isinstance(name, str) for name in given)
    ):
        raise SettingsError(
            f"pipeline {pipeline}: key is {given!r:.100}: use a column's name, a tuple of the names that are unique "
            "together, or None where nothing is",
            code="key-malformed",
        )
    names = key_names(key)
    if len(set(names)) < len(names) or len(names) > _MOST_COLUMNS:
        raise SettingsError(
            f"pipeline {pipeline}: key is {key!r:.300}: name each column once, and at most {_MOST_COLUMNS}",
            code="key-columns-invalid",
        )
    declared = {column.name: column for column in columns}
    for name in names:
        if name not in declared:
            raise SettingsError(
                f"pipeline {pipeline}: the key {name!r:.100} is not one of the columns: use {', '.join(declared)}, or "
                "None for no key",
                code="key-not-a-column",
            )
        _require_comparable(pipeline, declared[name])


def _require_comparable(pipeline: str, column: Column) -> None:
    if column.nullable:
        raise SettingsError(
            f"pipeline {pipeline}: the key {column.name} may be NULL, which is never equal to another: declare the "
            "column with nullable=False, or another key",
            code="key-nullable",
        )
    if column.type in _UNEQUAL:
        raise SettingsError(
            f"pipeline {pipeline}: the key {column.name} is {column.type}, of which not every warehouse tells in the "
            "same way what is equal: give its column another type, or declare another key",
            code="key-type-unfit",
        )
