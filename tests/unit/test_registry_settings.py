"""What a schema registry's connection may say; nothing is asked."""

from __future__ import annotations

import pytest

from topicledger.connection import Connection
from topicledger.errors import RejectedRecord, SettingsError
from topicledger.events.framing import not_framed, schema_id
from topicledger.kafka.registry import SchemaRegistry, _url

SECRET = "s3cr3t-in-a-url"


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "https://registry:8081/"}, "https://registry:8081"),
        ({"host": "http://registry/apis/ccompat/v7", "port": 1}, "http://registry/apis/ccompat/v7"),
        ({"host": "registry", "port": 8081}, "http://registry:8081"),
        ({"host": "registry", "port": 443, "schema": "https"}, "https://registry:443"),
    ],
)
def test_the_url_is_the_host_or_made_as_airflow_makes_one(fields: dict[str, object], url: str) -> None:
    """A host that is a URL is taken as it is; else it is made of scheme, host and port."""
    assert _url(Connection("registry", "http", **fields)) == url  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host", [None, "", "ftp://registry", f"https://reader:{SECRET}@registry", "http://", "http://registry:none"]
)
def test_a_host_that_is_no_url_is_refused_and_not_quoted(host: str | None) -> None:
    """Whatever stands there, it may hold a password."""
    with pytest.raises(SettingsError, match="isn't the URL of a schema registry") as refused:
        SchemaRegistry(Connection("registry", "http", host))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("extra", [{"basic.auth.user.info": SECRET}, {"ssl.ca.location": False}, {"url": "http://x"}])
def test_keys_that_nobody_reads_are_refused(extra: dict[str, object]) -> None:
    """A key that has no meaning here, or no text, is named with those that have; certificates are always checked."""
    with pytest.raises(SettingsError, match=f"its Extra has {next(iter(extra))}") as refused:
        SchemaRegistry(Connection("registry", "http", "http://registry", extra=extra))
    assert SECRET not in str(refused.value)


def test_an_id_is_read_from_the_frame() -> None:
    """Four bytes behind a zero byte, the first the highest; anything shorter or otherwise has none."""
    assert schema_id(b"\0\0\1\0\2rest") == 65_538
    assert schema_id(b"\0\0\0\0\1") == 1
    assert [schema_id(value) for value in (b"", b"\0\0\0\0", b'{"a": 1}', b"\1\0\0\0\1")] == [None] * 4


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b'{"a": 1}', "but with 0x7b; it looks like a JSON object"),
        (b" [1]", "but with 0x20; it looks like a JSON array"),
        (b"Obj\x01", "an Avro file"),
        (b"\x01\x02", "but with 0x01"),
        (b"\0\0\0", "ends within Confluent's framing: 3 bytes"),
    ],
)
def test_what_isnt_framed_says_what_it_looks_like(value: bytes, says: str) -> None:
    """So that whoever declared the wrong format sees which one it is."""
    refused = not_framed(value)
    assert isinstance(refused, RejectedRecord)
    assert refused.reason == "not_framed"
    assert says in str(refused)
