"""Headers whose names are any bytes: sent through the C interface of librdkafka, as clients in C and C++ do."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from confluent_kafka import cimpl

from tests.support.topics import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

_PRODUCER = 0
_END, _TOPIC, _PARTITION, _VALUE, _KEY, _FLAGS, _HEADER = 0, 1, 3, 4, 5, 7, 9
_COPY = 2

RawHeaders = Sequence[tuple[bytes, bytes | None]]
RawRecord = tuple[bytes | None, bytes | None, RawHeaders]
"""Key, value, headers."""


def produce_raw(bootstrap: str, topic: str, records: Iterable[RawRecord], partition: int = 0) -> None:
    """Produce records to one partition, and return when the broker has acknowledged every one."""
    library = ctypes.CDLL(cimpl.__file__)
    with _producer(library, bootstrap) as producer:
        for key, value, headers in records:
            while (code := _produce(library, producer, topic, partition, key, value, headers)) == -184:
                library.rd_kafka_poll(producer, 100)  # its queue is full
            assert code == 0, code
        assert library.rd_kafka_flush(producer, int(LIMIT_S * 1000)) == 0


def _produce(
    library: Any,
    producer: ctypes.c_void_p,
    topic: str,
    partition: int,
    key: bytes | None,
    value: bytes | None,
    headers: RawHeaders,
) -> int:
    arguments: list[Any] = [_TOPIC, ctypes.c_char_p(topic.encode()), _PARTITION, ctypes.c_int32(partition)]
    arguments += [_FLAGS, ctypes.c_int(_COPY), _KEY, *_sized(key), _VALUE, *_sized(value)]
    for name, content in headers:
        arguments += [_HEADER, ctypes.c_char_p(name), *_sized(content)]
    code: int = library.rd_kafka_producev(producer, *arguments, _END)
    return code


def _sized(content: bytes | None) -> tuple[ctypes.c_char_p, ctypes.c_ssize_t]:
    return ctypes.c_char_p(content), ctypes.c_ssize_t(len(content or b""))


@contextmanager
def _producer(library: Any, bootstrap: str) -> Iterator[ctypes.c_void_p]:
    library.rd_kafka_conf_new.restype = library.rd_kafka_new.restype = ctypes.c_void_p
    said = ctypes.create_string_buffer(512)
    config = ctypes.c_void_p(library.rd_kafka_conf_new())
    for key, value in {"bootstrap.servers": bootstrap, "linger.ms": "0", "message.max.bytes": "8000000"}.items():
        assert library.rd_kafka_conf_set(config, key.encode(), value.encode(), said, 512) == 0, said.value
    producer = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, config, said, 512))
    assert producer.value, said.value
    try:
        yield producer
    finally:
        library.rd_kafka_destroy(producer)
