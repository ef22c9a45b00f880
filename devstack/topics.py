"""What the stack asks of a broker: does it answer, and does it have the topic."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devstack.errors import StackError

_quiet = logging.getLogger("devstack.librdkafka")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


def admin(bootstrap: str) -> AdminClient:
    """Returns an admin client that keeps its connection troubles to itself."""
    settings: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "socket.timeout.ms": 10_000,
        "log_level": 0,
    }
    return AdminClient(settings, logger=_quiet)


def reachable(bootstrap: str, *, timeout_s: float) -> bool:
    """Tells whether a broker answers within the time."""
    try:
        return bool(admin(bootstrap).list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


def ensure_topic(bootstrap: str, topic: str, partitions: int) -> bool:
    """Creates the topic when it is missing; one that is there is left as it is.

    Returns:
        Whether it was created now.

    Raises:
        StackError: the broker refuses.
    """
    client = admin(bootstrap)
    if topic in client.list_topics(timeout=15).topics:
        return False
    try:
        client.create_topics([NewTopic(topic, num_partitions=partitions)], operation_timeout=15)[topic].result(30)
    except KafkaException as error:
        raise StackError(
            f"The topic {topic} can't be created at {bootstrap}: {error.args[0].str()}.",
            f"Create it there with {partitions} partitions, or use an account that may.",
        ) from error
    return True
