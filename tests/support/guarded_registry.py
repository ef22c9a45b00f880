"""A doorkeeper before a real schema registry: TLS, certificates of clients, one `Authorization` that lets in."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.support.certificates import Certificate


@contextmanager
def guarded(
    url: str,
    *,
    authorization: str | None = None,
    refusal: int = 401,
    own: Certificate | None = None,
    clients: str | None = None,
    folder: Path | None = None,
) -> Iterator[str]:
    """Give the URL behind which the same registry is.

    Args:
        url: The registry.
        authorization: The header's value that lets in; None lets everybody in.
        refusal: What everybody else is answered.
        own: The certificate to speak TLS with.
        clients: The authority that clients must have a certificate of.
        folder: For the certificate's file.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    server.daemon_threads = True
    server.behind, server.authorization, server.refusal = url, authorization, refusal  # type: ignore[attr-defined]
    if own is not None and folder is not None:
        keystore = folder / "registry.pem"
        keystore.write_text(own.keystore)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(keystore)
        if clients is not None:
            context.load_verify_locations(cadata=clients)
            context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield f"http{'s' if own else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Door(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        wanted: str | None = self.server.authorization  # type: ignore[attr-defined]
        if wanted is not None and self.headers.get("Authorization") != wanted:
            self._answer(self.server.refusal, b'{"error_code": 40101, "message": "no"}')  # type: ignore[attr-defined]
            return
        try:
            with urlopen(f"{self.server.behind}{self.path}") as answer:  # type: ignore[attr-defined] # noqa: S310 - http
                self._answer(answer.status, answer.read())
        except HTTPError as refused:
            self._answer(refused.code, refused.read())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
