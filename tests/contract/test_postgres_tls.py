"""TLS settings go from the connection's Extra to libpq as they are, and hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract.batches import load, origin
from tests.contract.loader import numbered
from tests.contract.places import Place
from tests.support.certificates import Authority, Certificate
from tests.support.tls_proxy import over_tls
from topicledger.cli.connections import parse_json
from topicledger.connection import Connection
from topicledger.errors import SettingsError, TopicLedgerError


class Ground:
    """A database behind TLS, an authority, and files with what they give out."""

    def __init__(self, place: Place, folder: Path, stack: ExitStack) -> None:
        self.authority = Authority("authority of the tests")
        self._place = place
        self._folder = folder
        self._stack = stack

    def file(self, name: str, content: str) -> str:
        path = self._folder / name
        path.write_text(content)
        path.chmod(0o600)
        return str(path)

    def place(self, own: Certificate, extra: dict[str, Any], *, ask_clients: bool = False) -> Place:
        """The database behind that certificate, by a connection that was written as JSON."""
        clients = self.authority.pem if ask_clients else None
        settings = self._stack.enter_context(over_tls(self._place.settings, own, self._folder, clients))
        given = {name: value for name, value in asdict(settings).items() if name != "conn_id"}
        fields = {**given, "conn_type": "postgres", "extra": extra}
        found = parse_json("warehouse_default", json.dumps(fields))
        names = Connection.__dataclass_fields__
        return replace(self._place, settings=Connection(**{name: getattr(found, name) for name in names}))


@pytest.fixture
def ground(postgres_place: Place, tmp_path: Path) -> Iterator[Ground]:
    with ExitStack() as stack:
        yield Ground(postgres_place, tmp_path, stack)


def loads(place: Place) -> bool:
    warehouse = place.ready()
    origin(warehouse)
    return load(warehouse, numbered(0, 3, "run")).accounts.loaded == 3


def test_a_verified_server(ground: Ground) -> None:
    """With verify-full and the authority's certificate a load goes through; without TLS nobody answers."""
    root = ground.file("root.pem", ground.authority.pem)
    own = ground.authority.server("127.0.0.1")
    place = ground.place(own, {"sslmode": "verify-full", "sslrootcert": root})
    assert loads(place)
    plain = replace(place, settings=replace(place.settings, extra={"sslmode": "disable"}))
    with pytest.raises(TopicLedgerError, match="server closed the connection"):
        plain.warehouse().positions("events")


@pytest.mark.parametrize("wrong", ["authority", "host", "expired"])
def test_a_server_that_is_not_who_it_should_be(ground: Ground, wrong: str) -> None:
    """Another authority, another host name or a certificate that ran out is a SettingsError that says so."""
    authority = Authority("another one") if wrong == "authority" else ground.authority
    host = "db.elsewhere.example" if wrong == "host" else "127.0.0.1"
    place = ground.place(
        authority.server(host, expired=wrong == "expired"),
        {"sslmode": "verify-full", "sslrootcert": ground.file("root.pem", ground.authority.pem)},
    )
    said = r"does not match host name" if wrong == "host" else "certificate verify failed|certificate has expired"
    with pytest.raises(SettingsError, match=said) as refused:
        place.warehouse().ensure_tables()
    assert "Correct the connection's fields" in str(refused.value)


def test_a_certificate_of_this_client(ground: Ground) -> None:
    """A client's certificate and its encrypted key are given where the server asks; without them it is refused."""
    password = "hunter2-very-secret"
    client = ground.authority.client("etl")
    extra = {
        "sslmode": "verify-full",
        "sslrootcert": ground.file("root.pem", ground.authority.pem),
        "sslcert": ground.file("client.pem", client.certificate),
        "sslkey": ground.file("client.key", client.encrypted_key(password)),
        "sslpassword": password,
    }
    own = ground.authority.server("127.0.0.1")
    assert loads(ground.place(own, extra, ask_clients=True))
    anonymous = {name: extra[name] for name in ("sslmode", "sslrootcert")}
    with pytest.raises(SettingsError, match="certificate required"):
        ground.place(own, anonymous, ask_clients=True).warehouse().ensure_tables()
    with pytest.raises(SettingsError) as refused:
        ground.place(own, {**extra, "sslpassword": password[::-1]}, ask_clients=True).warehouse().ensure_tables()
    assert password not in str(refused.value)
    assert password[::-1] not in str(refused.value)
