"""A schema registry: schemas by their ids, each asked for once; what it answers instead becomes an error of ours."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from topicledger.connection import Connection
from topicledger.errors import RejectedRecord, RetriableError, SettingsError
from topicledger.model.schemas import RegisteredSchema, Schemas
from topicledger.retries import with_retries

SECRET_KEYS = frozenset({"bearer.auth.token", "ssl.key.password"})
"""Keys of the Extra whose values must be masked wherever a log could show them."""

KEYS = (
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "bearer.auth.token",
    "bearer.auth.logical.cluster",
    "bearer.auth.identity.pool.id",
)
"""What the connection's Extra may have, all of them texts and the client's own names."""

_ANSWER_S = 10.0
_NEW_SCHEMA_S = 1.0
"""A registry of several servers learns of a schema a moment after its producer did: then it is asked once more."""
_WAITS = 5
"""For so many unknown ids; a topic of any bytes would have a new one in each record."""
_SCHEMA_NOT_FOUND = 40403
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


def registry_schemas(connection: Connection | None) -> Schemas | None:
    """The schemas of a registry, for whoever decodes; None where no registry is asked.

    Raises:
        SettingsError: The connection can't be used, or the package's extra `registry` isn't installed.
    """
    return None if connection is None else SchemaRegistry(connection).schema


class SchemaRegistry:
    """The schemas of one registry. Keeps what it was told: an id's schema never changes.

    Args:
        connection: Its URL as the host, login and password for basic authentication, and in the Extra any of `KEYS`.

    Raises:
        SettingsError: The connection can't be used, or the package's extra `registry` isn't installed.
    """

    def __init__(self, connection: Connection) -> None:
        self._conn_id = connection.conn_id
        self._url = _url(connection)
        self._client = _client(connection, self._url)
        weakref.finalize(self, self._client.__exit__, None, None, None)
        self._known: dict[int, RegisteredSchema | None] = {}
        self._waits = _WAITS

    def schema(self, schema_id: int) -> RegisteredSchema:
        """Give the schema of an id.

        Raises:
            RejectedRecord: The registry doesn't know it, or not any more.
            RetriableError: The registry doesn't answer, or not yet.
            SettingsError: It doesn't let this user in, or isn't a schema registry.
        """
        if schema_id not in self._known:
            self._known[schema_id] = with_retries(
                f"asking {self._url} for schema {schema_id}", lambda: self._found(schema_id)
            )
        found = self._known[schema_id]
        if found is None:
            raise RejectedRecord(
                "unknown_schema",
                f"the schema registry at {self._url} has no schema {schema_id}, or it was deleted there",
            )
        return found

    def _found(self, schema_id: int) -> RegisteredSchema | None:
        found = self._asked(schema_id)
        if found is None and self._waits:
            self._waits -= 1
            time.sleep(_NEW_SCHEMA_S)
            found = self._asked(schema_id)
        return found

    def _asked(self, schema_id: int) -> RegisteredSchema | None:
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            schema = self._client.get_schema(schema_id)
            references: dict[str, str] = {}
            self._add_references(schema, references)
            return RegisteredSchema(schema_id, schema.schema_type or "AVRO", schema.schema_str, references)
        except SchemaRegistryError as error:
            if error.http_status_code == 404 and error.error_code == _SCHEMA_NOT_FOUND:
                return None
            raise self._refused(error.http_status_code, str(error.error_message)) from error
        except ValueError as error:
            raise SettingsError(
                f"connection {self._conn_id}: {self._url} doesn't answer as a schema registry does: correct its host",
                code="registry-not-one",
            ) from error
        except Exception as error:  # its HTTP client's own, of which there are two
            raise self._failed(error) from error

    def _add_references(self, schema: Any, references: dict[str, str]) -> None:
        for reference in schema.references or ():
            if reference.name not in references:
                # A version that was deleted since still describes the records written with it.
                referred = self._client.get_version(reference.subject, reference.version, True).schema
                self._add_references(referred, references)
                references[reference.name] = referred.schema_str

    def _refused(self, status: int, message: str) -> SettingsError | RetriableError:
        if status in (401, 403):
            return SettingsError(
                f"connection {self._conn_id}: the schema registry at {self._url} refuses its credentials, or they may "
                f"not read schemas (HTTP {status}): correct login and password, or what the Extra has in their place",
                code="registry-refused",
            )
        if status in _PASSING:
            return RetriableError(
                f"the schema registry at {self._url} fails with HTTP {status}, {message!r:.200}: look at its log",
                code="registry-failing",
            )
        return SettingsError(
            f"connection {self._conn_id}: {self._url} answers HTTP {status}, as a schema registry doesn't: correct its "
            "host, with the path that the registry has, such as /apis/ccompat/v7 in Apicurio's",
            code="registry-not-one",
        )

    def _failed(self, error: Exception) -> SettingsError | RetriableError:
        if "[SSL:" in str(error) and "EOF" not in str(error):
            return SettingsError(
                f"connection {self._conn_id}: no TLS with the schema registry at {self._url}, {error!s:.200}: look "
                "whether its URL begins with https, name the authority that signed its certificate in ssl.ca.location "
                "and, where it asks for one, the own certificate in ssl.certificate.location",
                code="registry-tls-failed",
            )
        return RetriableError(
            f"the schema registry at {self._url} can't be reached, {type(error).__name__}: {error!s:.200}: look "
            f"whether it runs and this machine reaches it, else correct the host of connection {self._conn_id}",
            code="registry-unreachable",
        )


def _url(connection: Connection) -> str:
    """The registry's URL: the host as it is, or made of the fields as Airflow's own HTTP connections are."""
    host = connection.host or ""
    url = host if "://" in host else f"{connection.schema or 'http'}://{host}"
    if connection.port and "://" not in host:
        url += f":{connection.port}"
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_fits = urlsplit(""), False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_fits or parts.username is not None:
        # Not quoted: it may hold a password.
        raise SettingsError(
            f"connection {connection.conn_id}: its host isn't the URL of a schema registry: make it one such as "
            "https://registry:8081, with no login or password in it: they have fields of their own",
            code="registry-host-invalid",
        )
    return url.rstrip("/")


def _client(connection: Connection, url: str) -> Any:
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient
    except ImportError as error:
        raise SettingsError(
            f"connection {connection.conn_id} is a schema registry's, whose client can't be imported ({error}): "
            "pip install 'topicledger[registry]'",
            code="registry-client-missing",
        ) from error
    try:
        return SchemaRegistryClient({"url": url, "timeout": _ANSWER_S, "max.retries": 0, **_identity(connection)})
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(
            f"connection {connection.conn_id}: a schema registry's client can't be made of its Extra, {error!s:.200}: "
            "correct the files that it names",
            code="registry-extra-invalid",
        ) from error


def _identity(connection: Connection) -> Mapping[str, Any]:
    extra = {key: value for key, value in connection.extra.items() if value not in (None, "")}
    unknown = sorted(key for key in extra if key not in KEYS or not isinstance(extra[key], str))
    if unknown:
        raise SettingsError(
            f"connection {connection.conn_id}: its Extra has {', '.join(unknown)}, which a schema registry's "
            f"connection doesn't take here, or not as a text; usable are {', '.join(KEYS)}",
            code="registry-extra-key-unknown",
        )
    if "bearer.auth.token" in extra:
        # The client insists on a cluster, which only Confluent's cloud has.
        return {"bearer.auth.credentials.source": "STATIC_TOKEN", "bearer.auth.logical.cluster": "", **extra}
    if connection.login:
        return {"basic.auth.user.info": f"{connection.login}:{connection.password or ''}", **extra}
    return extra
