"""Reads Avro's datums: a writer's schema, resolved to a reader's, as functions made once for both.

A datum that ends early or late, an index that no enum or union has, are errors, never values. What a function raises
has the names of the fields on its way as notes, the innermost first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from topicledger.avro_schema import NOTHING, Field, Type, logical_value
from topicledger.events.avro_encoding import PLAIN, Malformed, Read, array_of, fixed, map_of, read_long

_Any = TypeVar("_Any")

_PROMOTED = {("int", "long"), ("string", "bytes"), ("bytes", "string")}
_TO_FLOAT = {(given, wanted) for given in ("int", "long", "float") for wanted in ("float", "double")}


class Unresolved(Exception):  # noqa: N818 - the same
    """What the writer wrote can't become what the reader's schema says; its message says why."""


def reading(writer: Type, reader: Type | None = None) -> Callable[[bytes, int], Any]:
    """What makes a datum of bytes, all of them from a place on.

    Args:
        writer: The schema that it was written with.
        reader: What it is resolved to, by the rules of the specification; None: it stays as it was written.

    Raises:
        Unresolved: No datum of the writer's can.
    """
    read = _Reading().of(writer, reader or writer)

    def datum(data: bytes, start: int) -> Any:
        try:
            value, end = read(data, start)
        except IndexError:
            raise Malformed(f"it ends early, after {len(data) - start} bytes") from None
        if end > len(data):
            raise Malformed(f"it ends early, after {len(data) - start} bytes")
        if end < len(data):
            raise Malformed(f"{len(data) - end} bytes follow behind its end")
        return value

    return datum


class _Reading:
    """Makes the functions; the one of a record is made once, so that it may have itself inside."""

    def __init__(self) -> None:
        self._records: dict[tuple[Type, Type | None], Read] = {}

    def of(self, writer: Type, reader: Type | None) -> Read:
        """What reads one type as another one; None: it is only passed over."""
        if writer.kind == "union":
            return _one_of([self._branch(branch, reader) for branch in writer.inner])
        if reader is not None and reader.kind == "union":
            return self.of(writer, _chosen(writer, reader))
        if reader is not None and not _match(writer, reader):
            raise Unresolved(f"the writer's {writer} can't be read as {reader}")
        if writer.kind == "record":
            return self._record(writer, reader)
        if writer.kind in ("array", "map"):
            inner = self.of(writer.inner[0], None if reader is None else reader.inner[0])
            return array_of(inner) if writer.kind == "array" else map_of(inner)
        return _enum(writer, reader) if writer.kind == "enum" else _plain(writer, reader)

    def _branch(self, branch: Type, reader: Type | None) -> Read:
        try:
            return self.of(branch, reader)
        except Unresolved as error:  # only a datum that has this branch is in the way
            message = str(error)

        def refuse(_data: bytes, _at: int) -> tuple[Any, int]:
            raise Unresolved(message)

        return refuse

    def _record(self, writer: Type, reader: Type | None) -> Read:
        key = (writer, reader)
        if key not in self._records:
            fields: list[tuple[str, Read]] = []
            wanted, defaults = ({}, {}) if reader is None else _wanted(writer, reader)
            # None of them has the name of a wanted one: that would be found by it, before any alias.
            unwanted = [field.name for field in writer.fields if field.name not in wanted]
            self._records[key] = _fields(fields, unwanted, defaults)
            for field in writer.fields:
                to = wanted.get(field.name)
                try:
                    read = self.of(field.type, None if to is None else to.type)
                except Unresolved as error:
                    error.add_note(field.name)
                    raise
                fields.append((to.name if to else field.name, read))
        return self._records[key]


def _wanted(writer: Type, reader: Type) -> tuple[Mapping[str, Field], Mapping[str, Any]]:
    """The reader's fields by the names that the writer gives them, and the values of those that it doesn't have."""
    written = {field.name for field in writer.fields}
    wanted: dict[str, Field] = {}
    defaults: dict[str, Any] = {}
    for field in reader.fields:
        name = next((name for name in (field.name, *field.aliases) if name in written), None)
        if name is not None:
            wanted[name] = field
        elif field.default is not NOTHING:
            defaults[field.name] = field.default
        else:
            raise Unresolved(f"the writer's {writer} has no field {field.name}, which has no default either")
    return wanted, defaults


def _match(writer: Type, reader: Type) -> bool:
    if writer.kind != reader.kind:
        return (writer.kind, reader.kind) in _PROMOTED | _TO_FLOAT and not writer.logical
    if writer.logical and reader.logical and _family(writer.logical) != _family(reader.logical):
        return False
    if writer.kind == "fixed" and writer.size != reader.size:
        return False
    if not writer.name:
        return True
    unqualified = writer.name.rpartition(".")[2]
    return unqualified == reader.name.rpartition(".")[2] or writer.name in reader.aliases


def _family(logical: str) -> str:
    return logical.removesuffix("-millis").removesuffix("-micros")


def _chosen(writer: Type, reader: Type) -> Type:
    """The branch of the reader's that takes what was written; one of the same type before one that it becomes."""
    same = [branch for branch in reader.inner if branch.kind == writer.kind and _match(writer, branch)]
    for branch in [*same, *reader.inner]:
        if _match(writer, branch):
            return branch
    raise Unresolved(f"the writer's {writer} can't be read as {reader}")


def _plain(writer: Type, reader: Type | None) -> Read:
    read = fixed(writer.size) if writer.kind == "fixed" else PLAIN[writer.kind]
    if reader is None:
        return read
    if (writer.kind, reader.kind) in _TO_FLOAT:
        return _made(read, float, "number")
    if writer.kind in ("bytes", "string") and writer.kind != reader.kind:
        read = PLAIN[reader.kind]
    # Where both have one, they differ in their unit at most, and the writer's is the one that was written.
    logical = writer if writer.logical and reader.logical else reader
    return _made(read, logical_value(logical), logical.logical) if logical.logical else read


def _made(read: Read, made: Callable[[Any], Any], what: str) -> Read:
    def read_made(data: bytes, at: int) -> tuple[Any, int]:
        value, at = read(data, at)
        try:
            return made(value), at
        except (ValueError, OverflowError):
            raise Malformed(f"{value!r:.100} in it is no {what}") from None

    return read_made


def _enum(writer: Type, reader: Type | None) -> Read:
    known = writer.symbols if reader is None else reader.symbols
    default = None if reader is None else reader.default
    symbols = [symbol if symbol in known else default for symbol in writer.symbols]
    by_byte = _by_byte(symbols, None)

    def read(data: bytes, at: int) -> tuple[str, int]:
        symbol = by_byte[data[at]]
        if symbol is not None:
            return symbol, at + 1
        index, at = read_long(data, at)
        if not 0 <= index < len(symbols):
            raise Malformed(f"symbol {index} in it isn't one of {len(symbols)} of the writer's {writer}")
        symbol = symbols[index]
        if symbol is None:
            raise Unresolved(f"the writer's symbol {writer.symbols[index]!r:.100} isn't one of the reader's {reader}")
        return symbol, at

    return read


def _one_of(branches: Sequence[Read]) -> Read:
    def other(data: bytes, behind: int) -> tuple[Any, int]:
        index, at = read_long(data, behind - 1)
        if not 0 <= index < len(branches):
            raise Malformed(f"branch {index} in it isn't one of {len(branches)} of the writer's union")
        return branches[index](data, at)

    by_byte = _by_byte(branches, other)
    return lambda data, at: by_byte[data[at]](data, at + 1)


def _by_byte(indexed: Sequence[_Any], other: _Any) -> Sequence[_Any]:
    """What an index leads to, by the one byte that mostly is all of it."""
    return [other if byte & 1 or byte > 127 or byte >> 1 >= len(indexed) else indexed[byte >> 1] for byte in range(256)]


def _fields(fields: Sequence[tuple[str, Read]], unwanted: Sequence[str], defaults: Mapping[str, Any]) -> Read:
    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        record = {**defaults}
        name = ""
        try:
            for name, read_field in fields:
                record[name], at = read_field(data, at)
        except Exception as error:
            error.add_note(name)
            raise
        for name in unwanted:
            del record[name]
        return record, at

    return read
