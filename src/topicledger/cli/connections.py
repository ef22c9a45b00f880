"""Airflow's connections for a program outside Airflow: from the environment, else from the `airflow` command.

The environment's two forms are those that Airflow reads: JSON, and a URI whose parts are percent-encoded.
Airflow itself is never imported: its command answers in a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from topicledger.cli.airflow_settings import setting
from topicledger.connection import Connection
from topicledger.errors import RetriableError, SettingsError

_COMMAND_TIMEOUT_S = 120
_EXTRA_KEY = "__extra__"
_JSON_KEYS = {"conn_type", "description", "extra", "host", "login", "password", "port", "schema"}


def find_connection(conn_id: str) -> Connection | None:
    """Look a connection up as Airflow does on this machine: secrets backend, environment, Airflow's own database.

    Returns:
        Its fields, or None when neither has it (also when there is no `airflow` command to ask).

    Raises:
        SettingsError: It is defined, but in a form that Airflow couldn't read either.
        RetriableError: The `airflow` command didn't answer in time.
    """
    text = os.environ.get(_variable(conn_id), "").strip()
    # A secrets backend comes before the environment, and only Airflow can ask it.
    asked = _ask_airflow(conn_id) if not text or setting("secrets", "backend") else None
    return asked or (parse_connection(conn_id, text) if text else None)


def require_connection(conn_id: str, example: str) -> Connection:
    """Look a connection up that has to be there.

    Args:
        conn_id: The connection's id.
        example: A JSON value that would define it, for the message.

    Raises:
        SettingsError: It is missing or unreadable.
        RetriableError: As `find_connection`.
    """
    found = find_connection(conn_id)
    if found is None:
        raise SettingsError(
            f"connection {conn_id} is not defined: set {_variable(conn_id)}='{example}', "
            "or define it in Airflow and run this where the `airflow` command finds it"
        )
    return found


def parse_connection(conn_id: str, text: str) -> Connection:
    """Read one connection from Airflow's JSON or URI form.

    Raises:
        SettingsError: It is in neither form. The text isn't quoted: it may hold a password.
    """
    return _from_json(conn_id, text) if text.startswith("{") else _from_uri(conn_id, text)


def _variable(conn_id: str) -> str:
    return f"AIRFLOW_CONN_{conn_id.upper()}"


def _from_json(conn_id: str, text: str) -> Connection:
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        # `from None`: the decoder's exception carries the whole text, password included.
        raise SettingsError(f"connection {conn_id} is not valid JSON: {error.msg} at column {error.colno}") from None
    if given.keys() == {"uri"}:
        return _from_uri(conn_id, given["uri"])
    if unknown := given.keys() - _JSON_KEYS:
        raise SettingsError(
            f"connection {conn_id} has {', '.join(sorted(unknown))}, which Airflow refuses: remove it, or put it into "
            f"the Extra; its fields are {', '.join(sorted(_JSON_KEYS))}"
        )
    return _from_fields(conn_id, given, given.get("extra"))


def _from_fields(conn_id: str, given: Mapping[str, Any], extra: Any) -> Connection:
    return Connection(
        conn_id=conn_id,
        conn_type=_conn_type(str(given.get("conn_type") or "")),
        host=_text(given.get("host")),
        port=_port(conn_id, given.get("port")),
        login=_text(given.get("login")),
        password=_text(given.get("password")),
        schema=_text(given.get("schema")),
        extra=_extra(conn_id, extra),
    )


def _from_uri(conn_id: str, text: str) -> Connection:
    protocol = ""
    try:
        scheme, separator, rest = text.partition("://")
        if "://" in rest.partition("?")[0]:
            # A host with a protocol of its own, such as http://https://host.
            protocol, _, rest = rest.partition("://")
        parts = urlsplit(f"//{rest}")
        port = parts.port
    except ValueError:
        separator = ""
    if not separator or not scheme or "@" in protocol or ":" in protocol:
        # Raised outside the handler: the parser's message can quote a part of the password.
        raise SettingsError(
            f"connection {conn_id} is neither JSON nor a URI such as "
            "type://login:password@host:port/schema?key=value (each part percent-encoded)"
        )
    host = _host(parts)
    return Connection(
        conn_id=conn_id,
        conn_type=_conn_type(scheme.lower()),
        host=f"{protocol}://{host}" if host and protocol else host or None,
        port=port,
        login=_text(unquote(parts.username or "")),
        password=_text(unquote(parts.password or "")),
        schema=_text(unquote(parts.path[1:])),
        extra=_extra_of_query(conn_id, parts.query),
    )


def _host(parts: SplitResult) -> str:
    host = unquote(parts.hostname or "")
    if "/" in host:
        # A path, such as a socket's folder: `hostname` would have put it in lower case.
        host = unquote(parts.netloc.rpartition("@")[2].partition(":")[0])
    return host


def _extra_of_query(conn_id: str, query: str) -> Mapping[str, Any]:
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    if _EXTRA_KEY in pairs:
        return _extra(conn_id, pairs[_EXTRA_KEY])
    return pairs


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _extra(conn_id: str, extra: Any) -> Mapping[str, Any]:
    if isinstance(extra, str) and extra.strip():
        extra = _json_or_text(extra)
    if not extra:
        return {}
    if not isinstance(extra, dict):
        raise SettingsError(
            f"the Extra of connection {conn_id} is not a JSON object: write it as "
            '{"key": "value"}, with double quotes'
        )
    return extra


def _conn_type(given: str) -> str:
    return "postgres" if given == "postgresql" else given.replace("-", "_")


def _port(conn_id: str, given: Any) -> int | None:
    if given is None or given == "":
        return None
    try:
        return int(given)
    except (TypeError, ValueError):
        raise SettingsError(f"the port of connection {conn_id} is not a number") from None


def _text(given: Any) -> str | None:
    return None if given is None or given == "" else str(given)


def _ask_airflow(conn_id: str) -> Connection | None:
    # That of our own environment first: another one on the path may be another Airflow, which finds nothing there.
    beside = str(Path(sys.executable).parent)
    command = shutil.which("airflow", path=beside) or shutil.which("airflow")
    if command is None:
        return None
    try:
        done = subprocess.run(
            [command, "connections", "get", conn_id, "-o", "json"],
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RetriableError(
            f"`airflow connections get {conn_id}` didn't answer in {_COMMAND_TIMEOUT_S} s; run it by hand to see why"
        ) from None
    if done.returncode != 0:
        if "Connection not found" in done.stdout + done.stderr:
            return None
        raise SettingsError(
            f"`airflow connections get {conn_id}` ended with exit status {done.returncode}; run it by hand to see why"
        )
    return _from_airflow(conn_id, done.stdout)


def _from_airflow(conn_id: str, output: str) -> Connection:
    # Airflow may print warnings before its JSON.
    begin = output.find("[{")
    try:
        given = json.JSONDecoder().raw_decode(output, begin)[0][0] if begin >= 0 else None
    except json.JSONDecodeError:
        given = None
    if given is None:
        raise SettingsError(f"`airflow connections get {conn_id} -o json` printed no JSON; run it by hand to see why")
    # Its JSON turns every value of the Extra into text; the URI keeps those that aren't text.
    exact = dict(parse_qsl(urlsplit(given.get("get_uri") or "").query)).get(_EXTRA_KEY)
    return _from_fields(conn_id, given, exact or given.get("extra_dejson"))
