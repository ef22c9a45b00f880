"""Records as any producer may send them: well-formed sign-ups, arbitrary bytes, transactions."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Producer

from tests.support.topics import LIMIT_S, quiet


@dataclass(frozen=True)
class Record:
    """One record as it is sent; `value=None` is a tombstone."""

    value: bytes | None
    key: bytes | None = None
    partition: int = 0
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp_ms: int = 0


def event_id(number: int) -> str:
    """The `event_id` of a numbered sign-up."""
    return str(uuid.UUID(int=number, version=4))


def sign_up(number: int, **changes: Any) -> dict[str, Any]:
    """A well-formed sign-up as a dictionary; a change to `...` leaves the field out."""
    fields = {
        "event_id": event_id(number),
        "user_id": number,
        "username": f" user{number} ",
        "email": f"User{number}@Example.COM",
        "full_name": None,
        "country": "DE",
        "plan": "free",
        "source": "ads",
        "marketing_opt_in": True,
        "signed_up_at": "2026-01-02T03:04:05.678901+00:00",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not ...}


def good(number: int, **changes: Any) -> bytes:
    """A sign-up as JSON."""
    return json.dumps(sign_up(number, **changes), ensure_ascii=False).encode()


def sign_ups(numbers: Iterable[int], partitions: int = 1) -> list[Record]:
    """Well-formed sign-ups, dealt out over the partitions."""
    return [Record(good(n), str(n).encode(), n % partitions) for n in numbers]


def produce(bootstrap: str, topic: str, records: Iterable[Record], **config: Any) -> None:
    """Produce records with a plain client, and return when the broker has acknowledged every one."""
    _send(_producer(bootstrap, config), topic, records)


class Transaction:
    """A transaction whose records are on the broker, and which is still open."""

    def __init__(self, bootstrap: str, topic: str, records: Iterable[Record]) -> None:
        self._producer = _producer(bootstrap, {"transactional.id": f"case-{uuid.uuid4().hex}"})
        self._producer.init_transactions(LIMIT_S)
        self._producer.begin_transaction()
        _send(self._producer, topic, records)

    def commit(self) -> None:
        """End it: its records become visible."""
        self._producer.commit_transaction(LIMIT_S)

    def abort(self) -> None:
        """End it: its records are never seen."""
        self._producer.abort_transaction(LIMIT_S)


def committed(bootstrap: str, topic: str, records: Iterable[Record]) -> None:
    """Produce records in a transaction and commit it."""
    Transaction(bootstrap, topic, records).commit()


def aborted(bootstrap: str, topic: str, records: Iterable[Record]) -> None:
    """Produce records in a transaction and abort it."""
    Transaction(bootstrap, topic, records).abort()


@contextmanager
def left_open(bootstrap: str, topic: str, records: Iterable[Record]) -> Iterator[None]:
    """Produce records in a transaction that stays open for as long as the block lasts, then commit it."""
    transaction = Transaction(bootstrap, topic, records)
    try:
        yield
    finally:
        transaction.commit()


def _producer(bootstrap: str, config: Mapping[str, Any]) -> Producer:
    settings = {"bootstrap.servers": bootstrap, "message.max.bytes": 8_000_000, "log_level": 0, "linger.ms": 0}
    return Producer({**settings, **config}, logger=quiet)


def _send(producer: Producer, topic: str, records: Iterable[Record]) -> None:
    failures: list[object] = []

    def on_delivery(error: object, _message: object) -> None:
        if error is not None:
            failures.append(error)

    for record in records:
        producer.produce(
            topic,
            value=record.value,
            key=record.key,
            partition=record.partition,
            headers=list(record.headers),
            timestamp=record.timestamp_ms,
            on_delivery=on_delivery,
        )
    assert producer.flush(LIMIT_S) == 0
    assert not failures, failures
