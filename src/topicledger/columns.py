"""A column's type, once: Arrow -> staged file -> each warehouse. Pure; imports nothing large."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa


class _Type(NamedTuple):
    """One type of column.

    Args:
        arrow: Makes its Arrow type, of pyarrow: while it is judged, and in Parquet files.
        postgres: Its name, spelled as the catalogue spells it.
        duckdb: The same in DuckDB.
        snowflake: The same in Snowflake.
    """

    arrow: Callable[..., Any]
    postgres: str
    duckdb: str
    snowflake: str


# A UUID is text on its way: Parquet's own type for it isn't read everywhere. So is JSON.
_TYPES = {
    "uuid": _Type(lambda pa: pa.string(), "uuid", "UUID", "VARCHAR"),
    "int64": _Type(lambda pa: pa.int64(), "bigint", "BIGINT", "NUMBER(38,0)"),
    "float64": _Type(lambda pa: pa.float64(), "double precision", "DOUBLE", "FLOAT"),
    "text": _Type(lambda pa: pa.string(), "text", "VARCHAR", "VARCHAR"),
    "bool": _Type(lambda pa: pa.bool_(), "boolean", "BOOLEAN", "BOOLEAN"),
    "timestamptz": _Type(
        lambda pa: pa.timestamp("us", "UTC"),
        "timestamp with time zone",
        "TIMESTAMP WITH TIME ZONE",
        "TIMESTAMP_TZ",
    ),
    "decimal": _Type(lambda pa, p, s: pa.decimal128(p, s), "numeric({},{})", "DECIMAL({},{})", "NUMBER({},{})"),
    "date": _Type(lambda pa: pa.date32(), "date", "DATE", "DATE"),
    "time": _Type(lambda pa: pa.time64("us"), "time without time zone", "TIME", "TIME"),
    "bytes": _Type(lambda pa: pa.binary(), "bytea", "BLOB", "BINARY"),
    "json": _Type(lambda pa: pa.string(), "jsonb", "JSON", "VARIANT"),
    "int32": _Type(lambda pa: pa.int32(), "integer", "INTEGER", "NUMBER(38,0)"),
}

COLUMN_TYPES = tuple(f"{kind}(p,s)" if kind == "decimal" else kind for kind in _TYPES if kind != "int32")
"""What a pipeline's column may be. `timestamptz` is microseconds in UTC; a decimal has p digits, s behind the point.

`int32` is the engine's alone.
"""

TYPE_PATTERN = rf"^({'|'.join(_TYPES)})(\(\d+, ?\d+\))?$"
"""What any column may be."""

# Of all warehouses Snowflake takes the fewest digits behind the point.
_MOST_DIGITS, _MOST_BEHIND_POINT = 38, 37
_DECIMAL = re.compile(r"decimal\(([1-9]\d?), ?(0|[1-9]\d?)\)\Z")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Args:
        name: The column's name; a pipeline's never starts with an underscore (those are the engine's own).
        type: Its type: one of `COLUMN_TYPES`, such as `text` or `decimal(12,2)`. Empty: type and nullability are
            those of its field.
        nullable: Whether NULL is allowed. NULL and the empty string stay different.
        field: The event's field that it holds where that has another name, or is a field of one: `customer.id`.
    """

    name: str
    type: str = ""
    nullable: bool = False
    field: str = ""

    @property
    def source(self) -> str:
        """The field that it holds, unless the clean-up makes the column."""
        return self.field or self.name


def is_column_type(kind: object) -> bool:
    """Whether a pipeline's column may have this type."""
    if not isinstance(kind, str):
        return False
    name, digits = _parsed(kind)
    if name == "decimal":
        return len(digits) == 2 and digits[1] <= digits[0] <= _MOST_DIGITS and digits[1] <= _MOST_BEHIND_POINT
    return name in _TYPES and name not in ("decimal", "int32")


def arrow_type(kind: str) -> pa.DataType:
    """A column type's Arrow type: while it is judged, and in Parquet files."""
    import pyarrow as pa

    name, digits = _parsed(kind)
    made: pa.DataType = _TYPES[name].arrow(pa, *digits)
    return made


def staged_type(kind: str) -> pa.DataType:
    """Its Arrow type in a staged file: that of `arrow_type`, but that bytes are text as PostgreSQL writes it."""
    return arrow_type("text" if kind == "bytes" else kind)


def sql_type(kind: str, warehouse: Literal["postgres", "duckdb", "snowflake"]) -> str:
    """A column type's name in a warehouse, as its catalogue spells it."""
    name, digits = _parsed(kind)
    return str(getattr(_TYPES[name], warehouse)).format(*digits)


def _parsed(kind: str) -> tuple[str, tuple[int, ...]]:
    """The key of a type in the table, and a decimal's digits in all and behind the point."""
    decimal = _DECIMAL.match(kind)
    return ("decimal", (int(decimal[1]), int(decimal[2]))) if decimal else (kind, ())
