"""TLS before a PostgreSQL whose build has none: the server's side of the handshake, then plain bytes on its socket."""

from __future__ import annotations

import dataclasses
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from tests.support.certificates import Certificate
from topicledger.connection import Connection

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")
_BLOCK_BYTES = 1 << 16


@contextmanager
def over_tls(place: Connection, own: Certificate, folder: Path, clients: str | None = None) -> Iterator[Connection]:
    """Give the same database on 127.0.0.1, where it is reached over TLS alone.

    Args:
        place: A PostgreSQL on a Unix socket.
        own: The server's certificate.
        folder: For the certificate's files.
        clients: The authority that clients must have a certificate of; None lets everybody in.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (folder / "server.pem").write_text(own.keystore)
    context.load_cert_chain(folder / "server.pem")
    if clients is not None:
        context.load_verify_locations(cadata=clients)
        context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = f"{place.host}/.s.PGSQL.{place.port}"
        serving = Thread(target=_accept, args=(listener, server, context), daemon=True)
        serving.start()
        try:
            yield dataclasses.replace(place, host="127.0.0.1", port=listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()


def _accept(listener: socket.socket, server: str, context: ssl.SSLContext) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            Thread(target=_serve, args=(client, server, context), daemon=True).start()


def _serve(client: socket.socket, server: str, context: ssl.SSLContext) -> None:
    with client, suppress(OSError):
        if client.recv(len(_SSL_REQUEST)) != _SSL_REQUEST:
            return  # who wants no TLS finds the connection closed
        client.sendall(b"S")
        with context.wrap_socket(client, server_side=True) as inside, socket.socket(socket.AF_UNIX) as behind:
            behind.connect(server)
            answers = Thread(target=_pass_on, args=(behind, inside), daemon=True)
            answers.start()
            _pass_on(inside, behind)
            answers.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while sent := source.recv(_BLOCK_BYTES):
            target.sendall(sent)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
