"""Reads Avro's binary encoding: a writer's schema, resolved to a reader's, as functions made once for both.

Strict where the encoding leaves no doubt: a datum that ends early or late, an index that no enum or union has, a length
below zero are errors, never values. What a function raises has the names of the fields on its way as notes, the
innermost first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any, TypeVar

from topicledger.avro_schema import NOTHING, Field, Type, logical_value

_Any = TypeVar("_Any")

Read = Callable[[bytes, int], tuple[Any, int]]
"""Gives a value and where it ends, of the bytes and where it begins."""

_PROMOTED = {("int", "long"), ("string", "bytes"), ("bytes", "string")}
_TO_FLOAT = {(given, wanted) for given in ("int", "long", "float") for wanted in ("float", "double")}
_BOOLEANS = (False, True)


class Unresolved(Exception):  # noqa: N818 - a verdict on a record
    """What the writer wrote can't become what the reader's schema says; its message says why."""


class Malformed(Exception):  # noqa: N818 - the same
    """The bytes are no datum of the writer's schema; its message says why."""


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
            return _array(inner) if writer.kind == "array" else _map(inner)
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


def _long(data: bytes, at: int) -> tuple[int, int]:
    number = data[at]
    at += 1
    if number > 127:
        number, at = _longer(data, number, at)
    return (number >> 1) ^ -(number & 1), at


def _longer(data: bytes, number: int, at: int) -> tuple[int, int]:
    number &= 127
    for shift in range(7, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            break
    else:
        raise Malformed("a number in it has more than 64 bits")
    return number, at


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _long(data, at)
    if size < 0:
        raise Malformed(f"something in it has {size} bytes")
    return data[at : at + size], at + size


def _string(data: bytes, at: int) -> tuple[str, int]:
    # As `_bytes`, and all in one place: most of what is read is text.
    size = data[at]
    at += 1
    if size > 127:
        size, at = _longer(data, size, at)
    if size & 1:
        raise Malformed("a text in it has less than no bytes")
    end = at + (size >> 1)
    try:
        return data[at:end].decode(), end
    except UnicodeDecodeError:
        if end > len(data):
            raise IndexError from None
        raise


def _boolean(data: bytes, at: int) -> tuple[bool, int]:
    if data[at] > 1:
        raise Malformed(f"a boolean in it is {data[at]}")
    return _BOOLEANS[data[at]], at + 1


def _null(_data: bytes, at: int) -> tuple[None, int]:
    return None, at


def _unpacking(form: str) -> Read:
    unpack_from, size = Struct(form).unpack_from, Struct(form).size

    def read(data: bytes, at: int) -> tuple[float, int]:
        if at + size > len(data):
            raise IndexError
        return unpack_from(data, at)[0], at + size

    return read


_PLAIN: Mapping[str, Read] = {
    "null": _null,
    "boolean": _boolean,
    "int": _long,
    "long": _long,
    "float": _unpacking("<f"),
    "double": _unpacking("<d"),
    "bytes": _bytes,
    "string": _string,
}


def _plain(writer: Type, reader: Type | None) -> Read:
    read = _fixed(writer.size) if writer.kind == "fixed" else _PLAIN[writer.kind]
    if reader is None:
        return read
    if (writer.kind, reader.kind) in _TO_FLOAT:
        return _made(read, float, "number")
    if writer.kind in ("bytes", "string") and writer.kind != reader.kind:
        read = _PLAIN[reader.kind]
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


def _fixed(size: int) -> Read:
    return lambda data, at: (data[at : at + size], at + size)


def _enum(writer: Type, reader: Type | None) -> Read:
    known = writer.symbols if reader is None else reader.symbols
    default = None if reader is None else reader.default
    symbols = [symbol if symbol in known else default for symbol in writer.symbols]
    by_byte = _by_byte(symbols, None)

    def read(data: bytes, at: int) -> tuple[str, int]:
        symbol = by_byte[data[at]]
        if symbol is not None:
            return symbol, at + 1
        index, at = _long(data, at)
        if not 0 <= index < len(symbols):
            raise Malformed(f"symbol {index} in it isn't one of {len(symbols)} of the writer's {writer}")
        symbol = symbols[index]
        if symbol is None:
            raise Unresolved(f"the writer's symbol {writer.symbols[index]!r:.100} isn't one of the reader's {reader}")
        return symbol, at

    return read


def _one_of(branches: Sequence[Read]) -> Read:
    def other(data: bytes, behind: int) -> tuple[Any, int]:
        index, at = _long(data, behind - 1)
        if not 0 <= index < len(branches):
            raise Malformed(f"branch {index} in it isn't one of {len(branches)} of the writer's union")
        return branches[index](data, at)

    by_byte = _by_byte(branches, other)
    return lambda data, at: by_byte[data[at]](data, at + 1)


def _by_byte(indexed: Sequence[_Any], other: _Any) -> Sequence[_Any]:
    """What an index leads to, by the one byte that mostly is all of it."""
    return [other if byte & 1 or byte > 127 or byte >> 1 >= len(indexed) else indexed[byte >> 1] for byte in range(256)]


def _count(data: bytes, at: int) -> tuple[int, int]:
    """How many items come next."""
    count, at = _long(data, at)
    if count < 0:
        _, at = _long(data, at)
    # Each takes a byte at least, but for items that are always null: of such ones nobody needs more.
    if abs(count) > len(data):
        raise Malformed(f"an array or a map in it has {abs(count)} items, in {len(data)} bytes")
    return abs(count), at


def _array(read_item: Read) -> Read:
    def read(data: bytes, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        count, at = _count(data, at)
        while count:
            for _ in range(count):
                item, at = read_item(data, at)
                items.append(item)
            count, at = _count(data, at)
        return items, at

    return read


def _map(read_item: Read) -> Read:
    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        items: dict[str, Any] = {}
        count, at = _count(data, at)
        while count:
            for _ in range(count):
                key, at = _string(data, at)
                items[key], at = read_item(data, at)
            count, at = _count(data, at)
        return items, at

    return read


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
