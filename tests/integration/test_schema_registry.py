"""A real schema registry, Apicurio, as the product's client meets it: what it has, what it hasn't, how it refuses."""

from __future__ import annotations

import base64
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient

from devstack.registry import Registry
from tests.support.certificates import Authority
from tests.support.guarded_registry import guarded
from topicledger import retries
from topicledger.connection import Connection
from topicledger.errors import RejectedRecord, RetriableError, SettingsError
from topicledger.kafka.registry import SchemaRegistry

pytestmark = pytest.mark.slow

SECRET = "s3cr3t-of-the-registry"


@pytest.fixture(name="client")
def confluents_client(schema_registry: Registry) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": schema_registry.url}) as client:
        yield client


@pytest.fixture(name="registered")
def a_registered_schema(client: SchemaRegistryClient) -> int:
    return client.register_schema(subject(), Schema(record("Known", a="long"), "AVRO"))


def subject() -> str:
    return f"{uuid.uuid4()}-value"


def record(name: str, **fields: str) -> str:
    return json.dumps({"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields.items()]})


def connection(url: str, login: str | None = None, password: str | None = None, **extra: object) -> Connection:
    keys = {key.replace("_", "."): value for key, value in extra.items()}
    return Connection("registry", "http", url, login=login, password=password, extra=keys)


def test_a_schema_is_found_by_its_id_with_what_it_refers_to(
    client: SchemaRegistryClient, schema_registry: Registry
) -> None:
    """Its text and kind are those that were registered; a schema that another one refers to stands before it."""
    names = [subject() for _ in range(3)]
    inner, middle, outer = (record("Inner", a="long"), record("Middle", b="Inner"), record("Outer", c="Middle"))
    client.register_schema(names[0], Schema(inner, "AVRO"))
    client.register_schema(names[1], Schema(middle, "AVRO", [SchemaReference("Inner", names[0], 1)]))
    outer_id = client.register_schema(names[2], Schema(outer, "AVRO", [SchemaReference("Middle", names[1], 1)]))
    found = SchemaRegistry(connection(schema_registry.url)).schema(outer_id)
    assert (found.schema_id, found.kind, json.loads(found.text)) == (outer_id, "AVRO", json.loads(outer))
    assert {name: json.loads(text) for name, text in found.references.items()} == {
        "Inner": json.loads(inner),
        "Middle": json.loads(middle),
    }
    assert list(found.references) == ["Inner", "Middle"]


def test_a_json_schema_is_found(client: SchemaRegistryClient, schema_registry: Registry) -> None:
    """The registry says of what kind a schema is."""
    text = '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {}}'
    schema_id = client.register_schema(subject(), Schema(text, "JSON"))
    assert SchemaRegistry(connection(schema_registry.url)).schema(schema_id).kind == "JSON"


def test_a_schema_is_asked_for_once(registered: int, schema_registry: Registry) -> None:
    """What was told stays known when the registry is gone, what wasn't known likewise."""
    with guarded(schema_registry.url) as url:
        registry = SchemaRegistry(connection(url))
        registry.schema(registered)
        with pytest.raises(RejectedRecord):
            registry.schema(2**31 - 1)
    assert registry.schema(registered).kind == "AVRO"
    with pytest.raises(RejectedRecord, match="has no schema 2147483647") as unknown:
        registry.schema(2**31 - 1)
    assert unknown.value.reason == "unknown_schema"


@pytest.mark.fault(161, "dead letter")
def test_a_deleted_schema_is_a_dead_letter_once_it_is_gone(
    client: SchemaRegistryClient, schema_registry: Registry
) -> None:
    """A version that was deleted still describes its records; deleted for good it is unknown."""
    ids = []
    for name, permanent in (("Deleted", False), ("Gone", True)):
        own = subject()
        ids.append(client.register_schema(own, Schema(record(name, a="long"), "AVRO")))
        client.delete_subject(own)
        if permanent:
            client.delete_subject(own, permanent=True)
    registry = SchemaRegistry(connection(schema_registry.url))
    assert registry.schema(ids[0]).kind == "AVRO"
    with pytest.raises(RejectedRecord, match="or it was deleted there"):
        registry.schema(ids[1])


def test_a_schema_that_comes_a_moment_late_is_found(client: SchemaRegistryClient, schema_registry: Registry) -> None:
    """A registry that doesn't know a schema yet is asked once more before a record is refused for it."""
    newest = client.register_schema(subject(), Schema(record(f"N{uuid.uuid4().hex}", a="long"), "AVRO"))
    registry = SchemaRegistry(connection(schema_registry.url))
    waited: list[float] = []

    def register(_: float) -> None:
        waited.append(1)
        client.register_schema(subject(), Schema(record(f"N{uuid.uuid4().hex}", a="long"), "AVRO"))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(time, "sleep", register)
        assert registry.schema(newest + 1).schema_id == newest + 1
    assert waited == [1]


@pytest.mark.parametrize(
    ("login", "extra"),
    [(("reader", f"{SECRET}:"), {}), (None, {"bearer.auth.token": SECRET})],
    ids=["basic", "bearer"],
)
def test_credentials_let_in_and_wrong_ones_stop(
    login: tuple[str, str] | None, extra: Mapping[str, str], registered: int, schema_registry: Registry
) -> None:
    """Login and password, or a token, are what the registry gets; without them the step stops, and names no secret."""
    basic = base64.b64encode(f"reader:{SECRET}:".encode()).decode()
    wanted = f"Basic {basic}" if login else f"Bearer {SECRET}"
    for refusal in (401, 403):
        with guarded(schema_registry.url, authorization=wanted, refusal=refusal) as url:
            name, password = login or (None, None)
            known = Connection("registry", "http", url, login=name, password=password, extra=extra)
            assert SchemaRegistry(known).schema(registered).kind == "AVRO"
            assert SECRET not in repr(known)
            with pytest.raises(SettingsError, match=rf"refuses its credentials.*HTTP {refusal}") as refused:
                SchemaRegistry(connection(url, "reader", SECRET)).schema(registered)
            assert SECRET not in str(refused.value)


def test_a_certificate_lets_in_and_a_stranger_stays_out(
    registered: int, schema_registry: Registry, tmp_path: Path
) -> None:
    """The registry's certificate is checked always; the own one, with its key in another file, is shown where asked."""
    authority = Authority("registry's")
    own, client = authority.server("127.0.0.1"), authority.client("reader")
    files = {name: tmp_path / name for name in ("ca", "certificate", "key")}
    files["ca"].write_text(authority.pem)
    files["certificate"].write_text(client.certificate)
    files["key"].write_text(client.encrypted_key(SECRET))
    trusted = {"ssl.ca.location": str(files["ca"])}
    shown = {
        "ssl.certificate.location": str(files["certificate"]),
        "ssl.key.location": str(files["key"]),
        "ssl.key.password": SECRET,
    }
    with guarded(schema_registry.url, own=own, clients=authority.pem, folder=tmp_path) as url:
        for extra, refused in ((trusted | shown, False), (shown, True), (trusted, True)):
            registry = SchemaRegistry(Connection("registry", "http", url, extra=extra))
            if refused:
                with pytest.raises(SettingsError, match="no TLS with the schema registry"):
                    registry.schema(registered)
            else:
                assert registry.schema(registered).kind == "AVRO"
    with pytest.raises(SettingsError, match="can't be made of its Extra") as wrong:
        SchemaRegistry(Connection("registry", "http", url, extra=shown | {"ssl.key.password": "no"}))
    assert SECRET not in str(wrong.value)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (lambda url: url.removesuffix("/apis/ccompat/v7"), "answers HTTP 404, as a schema registry doesn't"),
        (lambda url: url.replace("http:", "https:"), "begins with https"),
        (lambda url: url.replace("/apis/ccompat/v7", "/ui"), "schema registry"),
    ],
    ids=["path", "https", "page"],
)
def test_what_is_no_registry_stops_the_step(
    changed: Callable[[str], str], says: str, registered: int, schema_registry: Registry
) -> None:
    """A wrong path is a wrong setting, never a topic full of unknown schemas."""
    with pytest.raises(SettingsError, match=says):
        SchemaRegistry(connection(changed(schema_registry.url))).schema(registered)


@pytest.mark.fault(162, "retried")
def test_a_registry_that_is_down_is_asked_again_and_then_is_retriable(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that doesn't come back is a RetriableError with its address, after a bounded time."""
    monkeypatch.setattr(retries, "RETRY_S", 1.0)
    down = Connection("registry", "http", "127.0.0.1", 1, "reader", SECRET)
    began = time.monotonic()
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(RetriableError, match=r"http://127\.0\.0\.1:1 can't be reached") as lost,
    ):
        SchemaRegistry(down).schema(1)
    assert time.monotonic() - began < 30
    assert "trying again" in caplog.text
    assert SECRET not in caplog.text + str(lost.value)


def test_a_registry_that_fails_is_retriable(
    registered: int, schema_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP 503 may pass."""
    monkeypatch.setattr(retries, "RETRY_S", 0.2)
    with (
        guarded(schema_registry.url, authorization="no", refusal=503) as url,
        pytest.raises(RetriableError, match="fails with HTTP 503"),
    ):
        SchemaRegistry(connection(url)).schema(registered)
