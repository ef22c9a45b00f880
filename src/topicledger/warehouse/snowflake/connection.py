"""The fields of Airflow's Snowflake connection as arguments of Snowflake's connector: password, key pair or OAuth."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from topicledger.connection import Connection
from topicledger.errors import SettingsError
from topicledger.warehouse.snowflake.oauth import LOOPBACK, access_token

EXTRA = (
    "account",
    "database",
    "warehouse",
    "role",
    "region",
    "private_key_file",
    "private_key_content",
    "authenticator",
    "grant_type",
    "refresh_token",
    "token_endpoint",
    "scope",
    "session_parameters",
    "host",
    "port",
    "proxy_host",
    "proxy_port",
    "proxy_user",
    "proxy_password",
    "login_timeout",
    "network_timeout",
    "protocol",
)
"""The keys of the connection's Extra. All but the last three are those of Airflow's own provider."""

_PASSED_ON = (
    "account",
    "database",
    "warehouse",
    "role",
    "region",
    "host",
    "port",
    "proxy_host",
    "proxy_port",
    "proxy_user",
    "proxy_password",
    "protocol",
)
_SECRET = ("private_key_content", "refresh_token", "proxy_password")
_PREFIX = "extra__snowflake__"
_LARGEST_KEY_BYTES = 4096

# A transaction that blocks another one is ended by Snowflake after five minutes without a statement.
_WAITING = {"LOCK_TIMEOUT": 600}
_SESSION: Mapping[str, Any] = {
    "QUERY_TAG": "topicledger",
    "TRANSACTION_ABORT_ON_ERROR": True,
    "ABORT_DETACHED_QUERY": True,
    "TIMEZONE": "UTC",
    # An account or a user may have them otherwise: a ledger that is read in part, names that are others'.
    "ROWS_PER_RESULTSET": 0,
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
}


def checked_extra(settings: Connection) -> Mapping[str, Any]:
    """The connection's Extra, with the keys as they are called today and without those that are empty.

    Raises:
        SettingsError: A key is unknown, or one is missing that no session can do without.
    """
    given = {key.removeprefix(_PREFIX): value for key, value in settings.extra.items() if value not in (None, "")}
    replace(settings, extra=given).require_known(EXTRA, "Snowflake")
    missing = [key for key in ("account", "database", "warehouse") if key not in given]
    if missing:
        raise SettingsError(
            f"connection {settings.conn_id}: its Extra has no {', '.join(missing)}; add it",
            code="snowflake-extra-incomplete",
        )
    if given.get("protocol", "https") != "https" and given.get("host") not in LOOPBACK:
        raise SettingsError(
            f"connection {settings.conn_id}: protocol {given['protocol']!r} would send everything in plain text; it is "
            "for an emulator on this machine alone, remove it",
            code="snowflake-plain-text",
        )
    if not isinstance(given.get("session_parameters", {}), Mapping):
        raise SettingsError(
            f"connection {settings.conn_id}: its session_parameters are no JSON object; make them one",
            code="snowflake-session-parameters",
        )
    return given


LOGIN_S = 20
"""How long one login may take: with what is asked again, a wrong address is said within a minute."""


def arguments(settings: Connection, extra: Mapping[str, Any], schema: str) -> dict[str, Any]:
    """What the connector is opened with; each call asks anew for what ends by itself, such as a token.

    Args:
        settings: The connection.
        extra: What `checked_extra` gave.
        schema: The schema of the tables, which is where temporary ones are created.
    """
    return {
        **{key: extra[key] for key in _PASSED_ON if key in extra},
        **_identity(settings, extra),
        "schema": schema,
        "session_parameters": {**_WAITING, **extra.get("session_parameters", {}), **_SESSION},
        # Should Snowflake end the transaction, what follows must not commit statement by statement.
        "autocommit": False,
        "paramstyle": "qmark",
        "application": "topicledger",
        "login_timeout": int(extra.get("login_timeout", LOGIN_S)),
        "network_timeout": int(extra.get("network_timeout", 300)),
    }


def without_secrets(text: str, settings: Connection) -> str:
    """A driver's message, with nothing of the connection in it that is secret."""
    extra = {key.removeprefix(_PREFIX): value for key, value in settings.extra.items()}
    for secret in (settings.password, *(extra.get(key) for key in _SECRET)):
        if secret:
            text = text.replace(str(secret), "***")
    return text


def _identity(settings: Connection, extra: Mapping[str, Any]) -> dict[str, Any]:
    if extra.get("authenticator") == "oauth" or extra.get("refresh_token"):
        return {"authenticator": "oauth", "token": access_token(settings, extra)}
    if not settings.login:
        raise SettingsError(
            f"connection {settings.conn_id}: it has no login; give the Snowflake user", code="snowflake-login-missing"
        )
    if "private_key_file" in extra or "private_key_content" in extra:
        return {"user": settings.login, "private_key": _private_key(settings, extra)}
    known = {key: extra[key] for key in ("authenticator",) if key in extra}
    return {"user": settings.login, "password": settings.password or "", **known}


def _private_key(settings: Connection, extra: Mapping[str, Any]) -> bytes:
    """The key as the connector takes it; the connection's password is its passphrase."""
    passphrase = settings.password.strip().encode() if settings.password else None
    try:
        key = serialization.load_pem_private_key(_pem(extra), passphrase)
    except (OSError, ValueError, TypeError, binascii.Error) as error:
        # `from None`: the text may have a part of the key.
        raise SettingsError(
            f"connection {settings.conn_id}: its private key can't be read ({type(error).__name__}). Give one of "
            "private_key_file (a path that the worker can read) and private_key_content (PEM, or that in base64), and "
            "its passphrase as the password",
            code="snowflake-key-unreadable",
        ) from None
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _pem(extra: Mapping[str, Any]) -> bytes:
    if "private_key_file" in extra:
        if "private_key_content" in extra:
            raise ValueError("two keys")
        with Path(str(extra["private_key_file"])).open("rb") as file:
            return file.read(_LARGEST_KEY_BYTES)
    content = str(extra["private_key_content"])
    return content.encode() if "-----BEGIN" in content else base64.b64decode(content)
