"""Connections that break while somebody logs in: no password is called wrong because a network failed."""

from __future__ import annotations

import itertools
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from tests.support.grants import documented_grants
from tests.support.secure_broker import SecureBroker
from tests.support.steps import Case
from tests.support.topics import LIMIT_S
from topicledger.errors import RetriableError
from topicledger.kafka.topic import TopicObserver

pytestmark = pytest.mark.slow
"""All need the broker with TLS."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing resets the connection instead of ending it in order."""


class CuttingProxy:
    """Passes bytes on to a broker, and cuts each connection when its client has sent so many times."""

    def __init__(self, listener: socket.socket, server: tuple[str, int], sends: int, *, reset: bool) -> None:
        self._listener = listener
        self._server = server
        self._sends = sends
        self._reset = reset
        self.cut = 0

    def accept(self) -> None:
        """Serve clients until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server, suppress(OSError):
            answers = Thread(target=_pass_on, args=(server, client), daemon=True)
            answers.start()
            for number in itertools.count(1):
                if not (sent := client.recv(1 << 16)):
                    return
                if number == self._sends:
                    self.cut += 1
                    if self._reset:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    return
                server.sendall(sent)


def _pass_on(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):
        while answer := server.recv(1 << 16):
            client.sendall(answer)


@contextmanager
def cutting(address: str, sends: int, *, reset: bool) -> Iterator[tuple[CuttingProxy, str]]:
    """Give such a proxy and its address."""
    host, port = address.split(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = CuttingProxy(listener, (host, int(port)), sends, reset=reset)
        serving = Thread(target=proxy.accept, daemon=True)
        serving.start()
        try:
            yield proxy, f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()


@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
@pytest.mark.parametrize("way", ["password", "token", "certificate"])
def test_a_login_that_breaks_is_tried_again(
    secure_broker: SecureBroker, secure_duckdb_case: Case, way: str, reset: bool
) -> None:
    """Wherever between the first byte and the broker's answer a connection breaks, the credentials aren't blamed."""
    login = getattr(secure_broker, f"{way}_login")()
    secure_broker.allow(login.user, documented_grants(secure_duckdb_case))
    sends, deadline = 1, time.monotonic() + 4 * LIMIT_S
    while time.monotonic() < deadline:
        with cutting(login.extra["bootstrap.servers"], sends, reset=reset) as (proxy, address):
            case = secure_duckdb_case.with_extra({**login.extra, "bootstrap.servers": address})
            try:
                with TopicObserver(case.kafka, case.topic, request_s=1.0) as observer:
                    observer.topic_id()
            except RetriableError:
                sends += bool(proxy.cut)  # on a busy machine the time may be up before the client has sent so much
            else:
                break
    assert sends > 3
