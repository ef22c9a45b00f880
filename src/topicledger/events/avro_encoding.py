"""Avro's binary encoding: what reads numbers, texts, arrays and maps, strictly.

Where the encoding leaves no doubt that bytes are wrong they are refused, never read as a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

Read = Callable[[bytes, int], tuple[Any, int]]
"""Gives a value and where it ends, of the bytes and where it begins."""

_BOOLEANS = (False, True)


class Malformed(Exception):  # noqa: N818 - a verdict on a record
    """The bytes are no datum of the writer's schema; its message says why."""


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """An int or a long: seven bits a byte, the lowest first, the sign in the lowest of all."""
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
    if byte > 127 or number >> 64:
        raise Malformed("a number in it has more than 64 bits")
    return number, at


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = read_long(data, at)
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


PLAIN: Mapping[str, Read] = {
    "null": _null,
    "boolean": _boolean,
    "int": read_long,
    "long": read_long,
    "float": _unpacking("<f"),
    "double": _unpacking("<d"),
    "bytes": _bytes,
    "string": _string,
}


def fixed(size: int) -> Read:
    """What reads so many bytes."""
    return lambda data, at: (data[at : at + size], at + size)


def _count(data: bytes, at: int) -> tuple[int, int]:
    """How many items come next."""
    count, at = read_long(data, at)
    if count < 0:
        _, at = read_long(data, at)
    # Each takes a byte at least, but for items that are always null: of such ones nobody needs more.
    if abs(count) > len(data):
        raise Malformed(f"an array or a map in it has {abs(count)} items, in {len(data)} bytes")
    return abs(count), at


def array_of(read_item: Read) -> Read:
    """What reads an array, by what reads one of its items."""

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


def map_of(read_item: Read) -> Read:
    """What reads a map, by what reads one of its values."""

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
