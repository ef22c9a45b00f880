"""A message's headers, whatever their names: in Kafka a name is bytes, and confluent_kafka takes it for UTF-8.

For another name `Message.headers()` raises SystemError, throws the raw headers away and keeps a list with holes in
it: whoever touches that list ends the process. So such a message is dropped and read again, by `keep_names`.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, cast

from confluent_kafka import KafkaError, Message, cimpl

from topicledger.kafka.message import ConsumedMessage
from topicledger.model.records import Headers

_UNREADABLE = "(a header's name isn't UTF-8, and this build of confluent_kafka doesn't let its headers be read)"


class NameNotTextError(Exception):
    """The headers of a message are lost, since a name among them isn't UTF-8: drop the message, read it again."""


def bytes_beside_values(messages: Sequence[ConsumedMessage]) -> int:
    """How much the keys and headers of messages take.

    Raises:
        NameNotTextError: A header's name isn't UTF-8, and `keep_names` hasn't been there before.
    """
    keys = sum(map(len, filter(None, map(_KEY, messages))))
    try:
        # By `map`, which notices at once: from a plain call the error may come out anywhere behind it.
        headers = filter(None, list(map(_HEADERS, messages)))
    except SystemError:
        raise NameNotTextError from None
    return keys + sum(map(len, filter(None, chain.from_iterable(chain.from_iterable(headers)))))


def keep_names(messages: Iterable[ConsumedMessage]) -> None:
    """Make `headers()` of fresh messages safe: bytes of a name that aren't UTF-8 are surrogate escapes in it.

    Where this build of the client doesn't let them be read, one header says so in place of them all.
    """
    for message in messages:
        raw = _raw_headers(message)
        if raw is not None:
            _SET_HEADERS(message, list(_read(raw)))
            continue
        try:
            bytes_beside_values([message])
        except NameNotTextError:
            _SET_HEADERS(message, [(_UNREADABLE, None)])


def _raw_headers(message: ConsumedMessage) -> int | None:
    """Address of librdkafka's own headers of a message that nobody has asked for them yet; None: it has none."""
    place = _place_of_raw_headers()
    return None if place is None else ctypes.c_void_p.from_address(id(message) + place).value


def _read(raw: int) -> Iterator[tuple[str, bytes | None]]:
    name, value, size = ctypes.c_char_p(), ctypes.c_void_p(), ctypes.c_size_t()
    index = 0
    while not _get_all()(raw, index, ctypes.byref(name), ctypes.byref(value), ctypes.byref(size)):
        text = (name.value or b"").decode(errors="surrogateescape")
        yield text, ctypes.string_at(value.value, size.value) if value.value else None
        index += 1


@functools.cache
def _get_all() -> Any:
    """librdkafka's own function: it is found through the module that is linked with it. None: it isn't."""
    function = getattr(ctypes.CDLL(cimpl.__file__), "rd_kafka_header_get_all", None)
    if function is not None:
        function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_void_p] * 3]
    return function


@functools.cache
def _place_of_raw_headers() -> int | None:
    """Where a message keeps the pointer to its raw headers: between its `headers` and its `error`.

    None: messages of this build look otherwise, or librdkafka's function can't be reached.
    """
    if sys.implementation.name != "cpython" or _get_all() is None:
        return None
    fields: dict[str, Any] = {
        "topic": "topic",
        "value": b"value",
        "key": b"key",
        "headers": [("name", b"value")],
        "error": KafkaError(KafkaError.UNKNOWN),
    }
    message = Message(**fields)
    topic, value, key, headers, error = map(id, fields.values())
    expected = [topic, value, key, headers, 0, error]
    start, width = object.__basicsize__, ctypes.sizeof(ctypes.c_void_p)
    if Message.__basicsize__ < start + len(expected) * width:
        return None
    found = (ctypes.c_size_t * len(expected)).from_address(id(message) + start)
    return start + expected.index(0) * width if list(found) == expected else None


# The class's own functions, mapped: see topicledger.kafka.reader.
_KEY = cast("Callable[[ConsumedMessage], bytes | None]", Message.key)
_HEADERS = cast("Callable[[ConsumedMessage], Headers | None]", Message.headers)
_SET_HEADERS = cast("Callable[[ConsumedMessage, Headers], None]", Message.set_headers)
