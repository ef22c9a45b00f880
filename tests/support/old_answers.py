"""A proxy before a broker that answers as old brokers did: a repeated batch is a duplicate, its offset isn't known."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from devstack.ports import LOCALHOST
from tests.support.topics import wait_for

_PRODUCE = 0
_DUPLICATE_SEQUENCE = 46
_UNKNOWN_OFFSET = -1


class OldAnswers:
    """Passes Kafka's protocol on, both ways, and changes the answers to the first produce requests it is told to.

    The broker behind it has taken the batch; its answer then says what old brokers said of a batch that came again.

    Args:
        listener: Where clients connect; the broker advertises this address.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.server: tuple[str, int] | None = None
        self.to_change = 0
        self.changed = 0

    @property
    def address(self) -> str:
        """host:port of the proxy."""
        return f"{LOCALHOST}:{self._listener.getsockname()[1]}"

    def accept(self) -> None:
        """Serve clients until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        produced: set[int] = set()
        with client, suppress(OSError), socket.create_connection(self._wait_for_server()) as server:
            answers = Thread(target=self._answer, args=(server, client, produced), daemon=True)
            answers.start()
            while frame := _frame(client):
                api, _, correlation = struct.unpack_from(">hhi", frame)
                if api == _PRODUCE:
                    produced.add(correlation)
                _send(server, frame)
            server.shutdown(socket.SHUT_RDWR)
            answers.join()

    def _wait_for_server(self) -> tuple[str, int]:
        """Give the broker's address; the broker's own clients come before a test can tell it."""
        return wait_for("the broker's address", lambda: self.server)

    def _answer(self, server: socket.socket, client: socket.socket, produced: set[int]) -> None:
        with suppress(OSError):
            while frame := _frame(server):
                [correlation] = struct.unpack_from(">i", frame)
                if correlation in produced and self.changed < self.to_change:
                    self.changed += 1
                    frame = _as_duplicate(frame)
                _send(client, frame)
            client.shutdown(socket.SHUT_RDWR)


def _as_duplicate(answer: bytes) -> bytes:
    """Change the one partition of a produce response of version 9 or later: its error code, and its offset."""
    at = 4 + 1  # correlation id, no tagged fields
    topics, at = _varint(answer, at)
    length, at = _varint(answer, at)
    at += length - 1
    partitions, at = _varint(answer, at)
    assert (topics, partitions) == (2, 2), "compact arrays of one element each"
    at += 4  # the partition's number
    code, _ = struct.unpack_from(">hq", answer, at)
    assert code == 0
    return answer[:at] + struct.pack(">hq", _DUPLICATE_SEQUENCE, _UNKNOWN_OFFSET) + answer[at + 10 :]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at


def _frame(source: socket.socket) -> bytes:
    size = _exactly(source, 4)
    return _exactly(source, struct.unpack(">i", size)[0]) if size else b""


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        block = source.recv(count - len(data))
        if not block:
            return b""
        data += block
    return data


def _send(target: socket.socket, frame: bytes) -> None:
    target.sendall(struct.pack(">i", len(frame)) + frame)


@contextmanager
def old_answers() -> Iterator[OldAnswers]:
    """Listen for clients; the broker's address is told once it has started."""
    with socket.create_server((LOCALHOST, 0)) as listener:
        proxy = OldAnswers(listener)
        serving = Thread(target=proxy.accept, daemon=True)
        serving.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()
