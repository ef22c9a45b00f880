"""A connection's Extra to client configurations: what is required, refused, overridden, and secret."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from topicledger.errors import SettingsError

log = logging.getLogger(__name__)

REFUSED_KEYS: Mapping[str, str] = {
    "plugin.library.paths": "loads a library",
    "ssl.engine.location": "loads a library",
    "ssl.providers": "loads a library",
    "sasl.kerberos.kinit.cmd": "runs a command",
    "internal.termination.signal": "takes a signal from the task",
    "offset.store.method": "writes files",
    "offset.store.path": "writes files",
    "default.topic.config": "would override what the pipeline needs",
    "test.mock.num.brokers": "replaces the broker by a simulated one",
    "transactional.id": "the producer uses no transactions",
    "logger": "the client's log goes to the task's",
}
"""Keys that nobody may set, each with the reason. Whoever may edit a connection must not get a shell by it."""

CALLBACK_KEYS = frozenset({"error_cb", "throttle_cb", "stats_cb", "log_cb", "oauth_cb", "on_commit", "on_delivery"})

SECRET_KEYS = frozenset(
    {
        "sasl.password",
        "sasl.username",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.config",
        "schema.registry.basic.auth.user.info",
    }
)
"""Keys whose values must be masked wherever a log could show them."""

_VERIFICATION = {
    "enable.ssl.certificate.verification": ("true", "t", "1"),
    "ssl.endpoint.identification.algorithm": ("https",),
}
"""Keys that could let anybody pose as the broker, with the values that don't."""

_SHELL_KEYS = ("sasl.kerberos.principal", "sasl.kerberos.keytab")
"""Keys whose values librdkafka puts into the shell command that renews a Kerberos ticket, as they are."""

_NO_SHELL = re.compile(r"[\w.@/:+-]*", re.ASCII)

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
    "delivery.report.only.error": False,
}
_PRODUCER_DEFAULTS: Mapping[str, Any] = {
    "compression.type": "zstd",
    "linger.ms": 20,
    "batch.size": 1_000_000,
    "queue.buffering.max.messages": 200_000,
}
QUEUED_RECORDS = 20_000
QUEUED_BYTES = 64 << 20
_CONSUMER_DEFAULTS: Mapping[str, Any] = {
    # Bounded prefetch: memory stays flat however large the batch is. The bytes are those of values alone, so the
    # reader looks after keys and headers (topicledger.kafka.fetching).
    "queued.min.messages": QUEUED_RECORDS,
    "queued.max.messages.kbytes": QUEUED_BYTES >> 10,
    "fetch.wait.max.ms": 100,
    # Once its queue is full the client fetches no more for so long; its own second is far longer than a queue lasts.
    "fetch.queue.backoff.ms": 10,
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
                '{"bootstrap.servers": "host:9092"} into its Extra',
                code="bootstrap-servers-missing",
            )
        refused = [f"{key} ({why})" for key, why in REFUSED_KEYS.items() if key in self.extra]
        refused += [
            f"{key} (runs code)" for key in sorted(CALLBACK_KEYS & self.extra.keys()) if not callable(self.extra[key])
        ]
        if refused:
            raise SettingsError(
                f"connection {self.conn_id}: its Extra has {', '.join(refused)}: refused, remove it",
                code="extra-key-refused",
            )
        self._require_verification()
        self._require_harmless_values()

    def _require_verification(self) -> None:
        for key, safe in _VERIFICATION.items():
            if key in self.extra and str(self.extra[key]).strip().lower() not in safe:
                raise SettingsError(
                    f"connection {self.conn_id}: {key} in its Extra lets anybody pose as the broker: remove it, and "
                    "name the authority that signed the broker's certificate in ssl.ca.location or ssl.ca.pem",
                    code="broker-unchecked",
                )

    def _require_harmless_values(self) -> None:
        for key in _SHELL_KEYS:
            if not _NO_SHELL.fullmatch(str(self.extra.get(key, ""))):
                raise SettingsError(
                    f"connection {self.conn_id}: {key} in its Extra goes into a shell command: use letters, digits "
                    "and .@/:+-_ only",
                    code="kerberos-value-unsafe",
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
