"""The fields by which a bucket is reached: those of Airflow's own `aws` connection, without Airflow and boto3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EXTRA = (
    "region_name",
    "endpoint_url",
    "aws_session_token",
    "profile_name",
    "role_arn",
    "assume_role_kwargs",
)
"""The keys of the connection's Extra that say who asks, and where."""


@dataclass(frozen=True, slots=True)
class S3Connection:
    """Who asks, and where. Its repr shows no secret.

    Args:
        conn_id: The connection's id, for messages.
        conn_type: Its type, which is `aws`.
        login: The access key; None: boto3 finds credentials as it does everywhere (environment, profile, the
            machine's role).
        password: The secret access key.
        extra: The keys in `EXTRA`; others are ignored.
    """

    conn_id: str
    conn_type: str
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
