"""A connection's fields, as Airflow names them, without Airflow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from topicledger.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Connection:
    """Where something is and who asks; what each type makes of the fields says who reads it. Its repr shows no secret.

    Args:
        conn_id: The connection's id, for messages.
        conn_type: Its type, in Airflow's spelling: `duckdb`, `postgres`, `snowflake`, `aws` (S3) or `fs` (a folder).
        host: Server, Unix socket folder, or for DuckDB the database file's path.
        port: Port, or None for the default.
        login: User name, or S3's access key; without one boto3 finds credentials as it does everywhere.
        password: Password, or S3's secret access key.
        schema: The database's name (Airflow calls it schema); in Snowflake the schema's.
        extra: The Extra field's keys; whoever reads them says which.
    """

    conn_id: str
    conn_type: str
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def require_known(self, known: Collection[str], kind: str) -> None:
        """Do nothing where the Extra has no key but usable ones: what is mistyped, or weakens a promise, is refused.

        Args:
            known: The usable keys.
            kind: Whose they are, for the message.

        Raises:
            SettingsError: It has another one.
        """
        if unknown := sorted(set(self.extra) - set(known)):
            raise SettingsError(
                f"connection {self.conn_id}: its Extra has {', '.join(unknown)}, which {kind} connections don't take "
                f"here; usable are {', '.join(known)}",
                code="extra-key-unknown",
            )
