"""A proxy before PostgreSQL, which breaks a connection at a moment of the protocol that no client can choose."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Literal

from topicledger.connection import Connection

Moment = Literal["before COMMIT", "after COMMIT", "during COPY"]

_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
_COPY = b"COPY "
_BLOCK_BYTES = 1 << 16


@dataclass
class Proxy:
    """Passes bytes between clients and a server on a Unix socket, and cuts one connection when it is told to.

    A connection counts only once it has begun a COPY: that is the load's own.

    Args:
        listener: Where clients connect.
        server: The server's socket.
        cuts: At which moments of the next loads to cut, one each, in this order.
        done: The moments at which it did.
        serving: Takes connections, once it is open.
    """

    listener: socket.socket
    server: str
    cuts: list[Moment] = field(default_factory=list)
    done: list[Moment] = field(default_factory=list)
    serving: Thread | None = None

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self.listener.getsockname()[1])

    def open(self) -> None:
        """Take connections; before, the port refuses them. A repeat does nothing."""
        if self.serving is None:
            self.listener.listen()
            self.serving = Thread(target=self._accept, daemon=True)
            self.serving.start()

    def close(self) -> None:
        """Take no more."""
        if self.serving is not None:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.serving.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(self.server)
            deaf = Event()
            answers = Thread(target=_pass_on, args=(server, client, deaf), daemon=True)
            answers.start()
            loading = False
            while sent := client.recv(_BLOCK_BYTES):
                if (loading or _COPY in sent) and self._is_time(sent, copying=loading):
                    if self.cuts[0] == "after COMMIT":
                        deaf.set()
                        server.sendall(sent)
                        server.shutdown(socket.SHUT_WR)
                        # The server ends the session when it has done what it was sent.
                        answers.join()
                    self.done.append(self.cuts.pop(0))
                    break
                loading = loading or _COPY in sent
                server.sendall(sent)
            server.shutdown(socket.SHUT_RDWR)
            answers.join()

    def _is_time(self, sent: bytes, *, copying: bool) -> bool:
        if not self.cuts:
            return False
        if self.cuts[0] == "during COPY":
            return copying
        return sent.endswith(_COMMIT)


def _pass_on(server: socket.socket, client: socket.socket, deaf: Event) -> None:
    with suppress(OSError):
        while answer := server.recv(_BLOCK_BYTES):
            if not deaf.is_set():
                client.sendall(answer)


@contextmanager
def proxied(place: Connection, *, opened: bool = True) -> Iterator[tuple[Proxy, Connection]]:
    """Put a proxy before a PostgreSQL on a Unix socket; give it, and the same database behind it.

    Args:
        place: The database.
        opened: Whether it takes connections already.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        proxy = Proxy(listener, f"{place.host}/.s.PGSQL.{place.port}")
        if opened:
            proxy.open()
        try:
            yield proxy, dataclasses.replace(place, host="127.0.0.1", port=proxy.port)
        finally:
            proxy.close()
