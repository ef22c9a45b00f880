"""Which message of its writer's schema a framed Protobuf value is: its indexes, and the names that they stand for."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

Indexes = tuple[int, ...]
"""Where a message stands in its file: at the top, then within the one before."""

_TOKENS = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[A-Za-z_][\w.]*|[^\s\w]""", re.DOTALL)


def read_indexes(value: bytes, at: int) -> tuple[Indexes, int]:
    """Read the indexes that lie between frame and message, and where they end.

    Raises:
        ValueError: There are none.
    """
    count, at = _zigzag(value, at)
    if count == 0:
        return (0,), at  # for short
    if not 0 < count <= len(value) - at:
        raise ValueError
    indexes = []
    for _ in range(count):
        index, at = _zigzag(value, at)
        indexes.append(index)
    return tuple(indexes), at


def _zigzag(value: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place, byte in enumerate(value[at : at + 5]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at + place + 1
    raise ValueError


def message_names(schema: str) -> Mapping[Indexes, str]:
    """The full names of a schema's messages.

    Args:
        schema: As a registry gives it: the text of a `.proto` file, or its descriptor in base64.
    """
    try:
        file = FileDescriptorProto.FromString(base64.b64decode(schema, validate=True))
    except (binascii.Error, ValueError, DecodeError):
        return dict(_of_text(schema))
    return dict(_of_types(file.message_type, (), file.package))


def _of_types(types: Any, outer: Indexes, package: str) -> Iterator[tuple[Indexes, str]]:
    for index, message in enumerate(types):
        name = f"{package}.{message.name}".lstrip(".")
        yield (*outer, index), name
        yield from _of_types(message.nested_type, (*outer, index), name)


def _of_text(text: str) -> Iterator[tuple[Indexes, str]]:
    """No parser: only how messages lie in one another, which their braces say."""
    words = [word for word in _TOKENS.findall(text) if not word.startswith(("//", "/*", '"', "'"))]
    package = next((name for first, name in pairwise(words) if first == "package"), "")
    # Of each open brace: its message's indexes and name, and how many messages have been in it.
    opened: list[list[Any]] = [[(), package, 0]]
    for place, word in enumerate(words):
        if word == "{":
            outer = opened[-1]
            if place > 1 and words[place - 2] == "message":
                indexes, name = (*outer[0], outer[2]), f"{outer[1]}.{words[place - 1]}".lstrip(".")
                outer[2] += 1
                yield indexes, name
                opened.append([indexes, name, 0])
            else:
                opened.append([*outer[:2], 0])
        elif word == "}" and len(opened) > 1:
            opened.pop()
