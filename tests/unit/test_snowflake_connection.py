"""The fields of a Snowflake connection, as the connector gets them: password, key pair, OAuth. No account is asked."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.contract.batches import pipeline
from topicledger.connection import Connection
from topicledger.errors import RetriableError, SettingsError
from topicledger.warehouse.choice import open_warehouse
from topicledger.warehouse.snowflake.connection import arguments, checked_extra, without_secrets

SECRET = "hunter2"
PLACE = {"account": "org-account", "database": "LAKE", "warehouse": "LOADING"}
KEY = rsa.generate_private_key(65537, 2048)
DER = KEY.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def pem(passphrase: str | None = None) -> bytes:
    how = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    return KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def settings(password: str | None = SECRET, **extra: Any) -> Connection:
    return Connection("warehouse_default", "snowflake", login="loader", password=password, extra={**PLACE, **extra})


def given(place: Connection) -> dict[str, Any]:
    return arguments(place, checked_extra(place), "PUBLIC")


def test_a_password() -> None:
    """Login and password are user and password; what Airflow's form leaves empty isn't passed on."""
    found = given(settings(role="", extra__snowflake__region="eu-central-1"))
    assert (found["user"], found["password"], found["region"]) == ("loader", "hunter2", "eu-central-1")
    assert "role" not in found
    assert found["autocommit"] is False


def test_parameters_that_the_load_rests_on_stay() -> None:
    """A connection may set the time to wait and further parameters, not those that the transaction rests on."""
    own = {"TRANSACTION_ABORT_ON_ERROR": False, "LOCK_TIMEOUT": 60, "STATEMENT_TIMEOUT_IN_SECONDS": 900}
    found = given(settings(session_parameters=own))["session_parameters"]
    assert found["TRANSACTION_ABORT_ON_ERROR"] is True
    assert (found["LOCK_TIMEOUT"], found["STATEMENT_TIMEOUT_IN_SECONDS"]) == (60, 900)


@pytest.mark.parametrize("passphrase", [None, "open sesame"])
@pytest.mark.parametrize("form", ["file", "pem", "base64"])
def test_a_key_pair(tmp_path: Path, form: str, passphrase: str | None) -> None:
    """The key is read from a file, from PEM or from that in base64; the password is its passphrase, and isn't sent."""
    (tmp_path / "key.p8").write_bytes(pem(passphrase))
    forms = {
        "file": {"private_key_file": str(tmp_path / "key.p8")},
        "pem": {"private_key_content": pem(passphrase).decode()},
        "base64": {"private_key_content": base64.b64encode(pem(passphrase)).decode()},
    }
    found = given(settings(passphrase, **forms[form]))
    assert found["private_key"] == DER
    assert found["user"] == "loader"
    assert "password" not in found


@pytest.mark.parametrize(
    "extra",
    [
        {"private_key_file": "/no/such/key"},
        {"private_key_content": "no key"},
        {"private_key_content": pem("another passphrase").decode()},
        {"private_key_content": pem().decode(), "private_key_file": "/also/a/file"},
    ],
)
def test_a_key_that_cannot_be_read(extra: dict[str, str]) -> None:
    """It is said without a part of the key."""
    with pytest.raises(SettingsError, match="its private key can't be read") as refused:
        given(settings(**extra))
    assert refused.value.__cause__ is None
    assert "BEGIN" not in str(refused.value)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"acount": "x"}, "its Extra has acount, which Snowflake connections don't take here"),
        ({"insecure_mode": True}, "insecure_mode"),
        ({"account": ""}, "its Extra has no account"),
        ({"protocol": "http", "host": "example.org"}, "would send everything in plain text"),
        ({"session_parameters": "LOCK_TIMEOUT"}, "are no JSON object"),
    ],
)
def test_an_extra_that_cannot_work(extra: dict[str, Any], said: str) -> None:
    """A wrong field is named before anything is connected to."""
    with pytest.raises(SettingsError, match=said):
        open_warehouse(settings(**extra), pipeline())


def test_without_a_login() -> None:
    """A user is needed."""
    with pytest.raises(SettingsError, match="it has no login"):
        given(replace(settings(), login=None))


def test_secrets_leave_messages() -> None:
    """Whatever of the connection is secret is masked in what a driver says."""
    place = settings("hunter2", private_key_content="hunter3", refresh_token="hunter4", proxy_password="hunter5")
    assert "hunter" not in without_secrets("hunter2 hunter3 hunter4 hunter5", place)


def test_the_schema_of_the_connection() -> None:
    """A table that is declared without a schema is in the connection's, in upper case; PUBLIC without one."""
    place = replace(settings(), schema="landing")
    assert open_warehouse(place, pipeline()).target == "LANDING.EVENTS"
    assert open_warehouse(settings(), pipeline()).target == "PUBLIC.EVENTS"
    assert open_warehouse(place, pipeline("raw.events")).target == "RAW.EVENTS"


@dataclass
class Endpoint:
    """A token endpoint on this machine."""

    url: str = ""
    status: int = 200
    body: bytes = b'{"access_token": "a-token", "expires_in": 600}'
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    state = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            state.asked.append((self.headers["Authorization"], parse_qs(form)))
            self.send_response(state.status)
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/token"
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("extra", "asked"),
    [
        ({"refresh_token": "r"}, {"grant_type": ["refresh_token"], "refresh_token": ["r"]}),
        (
            {"authenticator": "oauth", "grant_type": "client_credentials", "scope": "session:role:LOADER"},
            {"grant_type": ["client_credentials"], "scope": ["session:role:LOADER"]},
        ),
    ],
)
def test_oauth(endpoint: Endpoint, extra: dict[str, str], asked: dict[str, list[str]]) -> None:
    """Both grants of Airflow's provider give a token, anew for each session; login and secret aren't sent on."""
    place = settings("secret", token_endpoint=endpoint.url, **extra)
    for _ in range(2):
        found = given(place)
    assert (found["authenticator"], found["token"]) == ("oauth", "a-token")
    assert not {"user", "password"} & set(found)
    client = base64.b64encode(b"loader:secret").decode()
    assert endpoint.asked == [(f"Basic {client}", {**asked, "redirect_uri": ["https://localhost.com"]})] * 2


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b'{"error": "invalid_client"}', SettingsError),
        (400, b"{}", SettingsError),
        (503, b"", RetriableError),
        (429, b"", RetriableError),
        (200, b"<html>", RetriableError),
        (200, b"{}", RetriableError),
    ],
)
def test_oauth_that_is_refused_or_fails(endpoint: Endpoint, status: int, body: bytes, kind: type[Exception]) -> None:
    """A refusal is for a person, a failure passes; neither shows the secret."""
    endpoint.status, endpoint.body = status, body
    with pytest.raises(kind, match="token endpoint") as refused:
        given(settings("s3cret-of-client", refresh_token="r3fresh", token_endpoint=endpoint.url))
    assert "s3cret" not in str(refused.value)
    assert "r3fresh" not in str(refused.value)


@pytest.mark.parametrize(
    "extra",
    [
        {"authenticator": "oauth"},
        {"authenticator": "oauth", "grant_type": "refresh_token"},
        {"authenticator": "oauth", "grant_type": "password"},
        {"refresh_token": "r", "token_endpoint": "http://example.org/token"},
    ],
)
def test_oauth_that_is_incomplete(extra: dict[str, str]) -> None:
    """What OAuth needs is said, and a secret never goes to an endpoint without TLS elsewhere."""
    with pytest.raises(SettingsError, match="OAuth needs login and password"):
        given(settings(**extra))
