"""A connection's Extra to client configurations: what is required, refused, overridden, and secret."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from topicledger.errors import SettingsError

log = logging.getLogger(__name__)

REFUSED_KEYS = frozenset({"plugin.library.paths", "sasl.kerberos.kinit.cmd", "ssl.engine.location", "ssl.providers"})
"""Keys that load code or run commands; whoever may edit a connection must not get a shell by it."""

CALLBACK_KEYS = frozenset({"error_cb", "throttle_cb", "stats_cb", "log_cb", "oauth_cb", "on_commit"})

SECRET_KEYS = frozenset(
    {
        "sasl.password",
        "sasl.username",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "schema.registry.basic.auth.user.info",
    }
)
"""Keys whose values must be masked wherever a log could show them."""

_COMMON: Mapping[str, Any] = {
    "allow.auto.create.topics": False,
    # The last error is kept and translated; librdkafka's own lines go to Python's logging.
    "log.connection.close": False,
}
_CONSUMER: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "check.crcs": True,
}
_PRODUCER: Mapping[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
}
_PRODUCER_DEFAULTS: Mapping[str, Any] = {
    "compression.type": "zstd",
    "linger.ms": 20,
    "batch.size": 1_000_000,
    "queue.buffering.max.messages": 200_000,
}
_CONSUMER_DEFAULTS: Mapping[str, Any] = {
    # Bounded prefetch: memory stays flat however large the batch is.
    "queued.min.messages": 100_000,
    "queued.max.messages.kbytes": 65_536,
    "fetch.wait.max.ms": 100,
}


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """A Kafka connection, without Airflow. Its repr shows nothing of the Extra but the servers.

    Args:
        conn_id: The connection's id, for messages.
        extra: librdkafka's own keys, callbacks resolved to callables.

    Raises:
        SettingsError: A required key is missing, or a key is refused.
    """

    conn_id: str
    extra: Mapping[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        servers = self.extra.get("bootstrap.servers")
        if not isinstance(servers, str) or not servers.strip():
            raise SettingsError(
                f"connection {self.conn_id} has no 'bootstrap.servers': put "
                '{"bootstrap.servers": "host:9092"} into its Extra'
            )
        refused = sorted(REFUSED_KEYS & self.extra.keys())
        refused += sorted(key for key in CALLBACK_KEYS & self.extra.keys() if not callable(self.extra[key]))
        if refused:
            raise SettingsError(
                f"connection {self.conn_id} has {', '.join(refused)} in its Extra: keys that load code or run commands "
                "are refused; remove them"
            )

    @property
    def servers(self) -> str:
        """The bootstrap servers, for messages."""
        return str(self.extra["bootstrap.servers"])

    def admin(self) -> dict[str, Any]:
        """Configuration of an admin client."""
        return self._merged({}, {})

    def consumer(self, group_id: str) -> dict[str, Any]:
        """Configuration of a consumer that reads assigned ranges, with the pipeline's own guarantees on top."""
        return self._merged(_CONSUMER_DEFAULTS, {**_CONSUMER, "group.id": group_id})

    def producer(self) -> dict[str, Any]:
        """Configuration of an idempotent producer that waits for every replica in sync."""
        return self._merged(_PRODUCER_DEFAULTS, _PRODUCER)

    def _merged(self, defaults: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
        fixed = {**_COMMON, **fixed}
        for key in sorted(fixed.keys() & self.extra.keys()):
            if key != "group.id" and str(self.extra[key]).lower() != str(fixed[key]).lower():
                log.warning(
                    "connection %s sets %s=%s; the pipeline needs %s and uses that",
                    self.conn_id,
                    key,
                    self.extra[key],
                    fixed[key],
                )
        return {**defaults, **self.extra, **fixed}
