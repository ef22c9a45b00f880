"""An OAuth access token for one session, asked for as Airflow's Snowflake provider does."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from topicledger.connection import Connection
from topicledger.errors import RetriableError, SettingsError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""The only hosts that are spoken to without TLS: emulators on this machine."""

_TIMEOUT_S = 30
_GRANTS = ("refresh_token", "client_credentials")


def access_token(settings: Connection, extra: Mapping[str, Any]) -> str:
    """Ask the token endpoint, with the connection's login and password as the client's.

    Raises:
        SettingsError: A field is missing, or the endpoint refuses.
        RetriableError: The endpoint isn't there, or fails.
    """
    grant = extra.get("grant_type") or ("refresh_token" if extra.get("refresh_token") else None)
    endpoint = extra.get("token_endpoint") or f"https://{extra['account']}.snowflakecomputing.com/oauth/token-request"
    where = urlsplit(endpoint)
    secure = where.scheme == "https" or (where.scheme == "http" and where.hostname in LOOPBACK)
    given = settings.login and settings.password and (grant != "refresh_token" or extra.get("refresh_token"))
    if grant not in _GRANTS or not secure or not given:
        raise SettingsError(
            f"connection {settings.conn_id}: OAuth needs login and password (the client's id and secret), a grant_type "
            f"({' or '.join(_GRANTS)}, the first with refresh_token) and, where it isn't Snowflake's own, a "
            "token_endpoint by https; complete the connection",
            code="oauth-incomplete",
        )
    form = {"grant_type": grant, "redirect_uri": "https://localhost.com"}
    if grant == "refresh_token":
        form["refresh_token"] = extra["refresh_token"]
    if extra.get("scope"):
        form["scope"] = extra["scope"]
    client = base64.b64encode(f"{settings.login}:{settings.password}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - https, or this machine: looked at above
        endpoint, urlencode(form).encode(), {"Authorization": f"Basic {client}", "Accept": "application/json"}
    )
    return _asked(settings, request)


def _asked(settings: Connection, request: urllib.request.Request) -> str:
    where = f"connection {settings.conn_id}: the token endpoint {request.full_url}"
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - as above
            return str(json.load(answer)["access_token"])
    except urllib.error.HTTPError as error:
        error.close()
        if error.code < 500 and error.code != 429:
            # `from None`, here and below: what a driver keeps of a request may have its secrets.
            raise SettingsError(
                f"{where} refuses with status {error.code}: correct client, secret, grant or scope",
                code="oauth-refused",
            ) from None
        raise RetriableError(
            f"{where} fails with status {error.code}. Nothing was changed; try again", code="oauth-unavailable"
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise RetriableError(
            f"{where} gives no token ({type(error).__name__}). Nothing was changed; try again", code="oauth-unavailable"
        ) from None
