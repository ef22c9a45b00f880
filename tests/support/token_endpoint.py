"""An OAuth token endpoint of a test's own: it signs tokens for the clients it knows, and refuses all others."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote_plus

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support.certificates import Certificate

_KEY_ID = "tests"


@dataclass
class TokenEndpoint:
    """What a running endpoint knows and has done.

    Args:
        url: Where clients ask.
        clients: The secret of each client it gives tokens to.
        lifetime_s: How long each client's tokens are valid.
        issued: How many tokens each client was given.
        refused: The clients that are hung up on, as if nothing ran here.
    """

    url: str
    clients: dict[str, str] = field(default_factory=dict)
    lifetime_s: dict[str, int] = field(default_factory=dict)
    issued: dict[str, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048), repr=False)

    def jwks(self) -> str:
        """The public key as the broker wants to have it."""
        numbers = self.key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": _KEY_ID}
        return json.dumps({"keys": [{**key, "n": _number(numbers.n), "e": _number(numbers.e)}]})

    @contextmanager
    def hanging_up_on(self, client: str) -> Iterator[None]:
        """Answer one client nothing as long as the block lasts."""
        self.refused.add(client)
        try:
            yield
        finally:
            self.refused.discard(client)

    def token(self, client: str) -> dict[str, Any]:
        """Sign a token whose subject is the client."""
        lifetime_s, now = self.lifetime_s.get(client, 3_600), int(time.time())
        self.issued[client] = self.issued.get(client, 0) + 1
        claims = {"sub": client, "iss": "tests", "aud": "kafka", "iat": now, "exp": now + lifetime_s}
        signed = f"{_encoded({'alg': 'RS256', 'kid': _KEY_ID})}.{_encoded(claims)}"
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        token = f"{signed}.{_base64(signature)}"
        return {"access_token": token, "token_type": "bearer", "expires_in": lifetime_s}


@contextmanager
def running_token_endpoint(folder: Path, certificate: Certificate) -> Iterator[TokenEndpoint]:
    """Give an endpoint that answers over TLS on a free port of this machine."""
    keystore = folder / "token_endpoint.pem"
    keystore.write_text(certificate.keystore)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keystore)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads = True
    server.endpoint = TokenEndpoint(f"https://127.0.0.1:{server.server_port}/token")  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield server.endpoint  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        endpoint: TokenEndpoint = self.server.endpoint  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        client, _, secret = base64.b64decode(given if scheme == "Basic" else "").decode().partition(":")
        client, secret = unquote_plus(client), unquote_plus(secret)
        if client in endpoint.refused:
            self.close_connection = True
            return
        known = endpoint.clients.get(client) == secret and secret
        self._answer(200, endpoint.token(client)) if known else self._answer(401, {"error": "invalid_client"})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _number(value: int) -> str:
    return _base64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _encoded(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
