"""Makes a client of S3 from a connection's fields."""

from __future__ import annotations

from typing import Any

import boto3  # type: ignore[import-untyped] # ships no types
from botocore.config import Config  # type: ignore[import-untyped]

from topicledger.connection import Connection

EXTRA = (
    "region_name",
    "endpoint_url",
    "aws_session_token",
    "profile_name",
    "role_arn",
    "assume_role_kwargs",
)
"""The keys of the connection's Extra that say who asks, and where."""

_SESSION_NAME = "topicledger"


def make_client(connection: Connection) -> Any:
    """A client that tries each request three times. It asks for nothing yet, but for a role when one is named."""
    extra = connection.extra
    session = boto3.Session(
        aws_access_key_id=connection.login,
        aws_secret_access_key=connection.password,
        aws_session_token=extra.get("aws_session_token"),
        region_name=extra.get("region_name"),
        profile_name=extra.get("profile_name"),
    )
    endpoint = extra.get("endpoint_url")
    if extra.get("role_arn"):
        session = _assumed(session, connection)
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 3},
        # A bucket's name as a part of the host's is an address that few but AWS resolve.
        s3={"addressing_style": "path"} if endpoint else None,
    )
    return session.client("s3", endpoint_url=endpoint, config=config)


def _assumed(session: Any, connection: Connection) -> Any:
    """A session with the role's own credentials; they last for an hour, which is for one task."""
    extra = connection.extra
    # An endpoint of its own takes the role's request too: what isn't AWS has its tokens there.
    sts = session.client("sts", endpoint_url=extra.get("endpoint_url"))
    given = sts.assume_role(
        **{"RoleSessionName": _SESSION_NAME, **(extra.get("assume_role_kwargs") or {}), "RoleArn": extra["role_arn"]}
    )["Credentials"]
    return boto3.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        region_name=extra.get("region_name"),
    )
