"""The whole stack: broker, warehouse and Airflow, started side by side, wired by Airflow's connections."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from devstack.airflow import Airflow
from devstack.broker import Broker, ExternalBroker
from devstack.home import ROOT, Wishes
from devstack.ports import wanted_port
from devstack.postgres import Postgres
from devstack.service import Service, start_nothing_more
from devstack.state import Standing, end_everything
from devstack.topics import ensure_topic

DAG_ID = "robust_kafka_etl_pipeline"
TOPIC = "user_signups"
PARTITIONS = 6
DATABASE = "topicledger"

Say = Callable[[str], None]


class Stack:
    """Starts the parts and knows them. `stop` may come at any moment, also in the middle of `start`.

    Args:
        wishes: what a person asked for.
        say: prints one line.
    """

    def __init__(self, wishes: Wishes, say: Say) -> None:
        self.wishes = wishes
        self.say = say
        self.bootstrap = wishes.bootstrap
        self._broker = None if wishes.bootstrap else Broker(wishes.home / "broker")
        self._postgres = Postgres(wishes.home / "postgres") if wishes.warehouse == "postgres" else None
        port = wishes.airflow_port
        self._airflow = Airflow(
            wishes.home / "airflow",
            [wishes.dags_folder],
            port=wanted_port(port, "AIRFLOW_PORT") if port else None,
        )
        self._began = time.monotonic()

    def start(self) -> Standing:
        """Returns when all parts answer, topic and connections are there, and the DAG is parsed.

        Raises:
            StackError: a part doesn't come up.
        """
        parts = [self._start_broker, self._start_airflow]
        if self._postgres:
            parts.append(self._start_postgres)
        _side_by_side(parts)
        standing = self._standing()
        standing.write(self.wishes.state_file)
        self._connect(standing)
        self._airflow.wait_for_dag(DAG_ID)
        return standing

    def stop(self) -> None:
        """Ends everything that was started, children of children included. Someone else's broker stays."""
        start_nothing_more()
        end_everything(self.wishes.home, self._services())
        self.wishes.state_file.unlink(missing_ok=True)

    def _start_broker(self) -> None:
        if self._broker:
            self._broker.start()
            self.bootstrap = self._broker.bootstrap
        else:
            ExternalBroker(self.bootstrap)
        created = ensure_topic(self.bootstrap, TOPIC, PARTITIONS)
        how = "started" if self._broker else "yours, left as it is"
        self._tell("Kafka", f"{self.bootstrap} ({how})")
        self._tell("topic", f"{TOPIC}, " + (f"created with {PARTITIONS} partitions" if created else "there already"))

    def _start_postgres(self) -> None:
        if self._postgres:
            self._postgres.start()
            self._postgres.create_database(DATABASE)
            self._tell("PostgreSQL", f"database {DATABASE}, socket in {self._postgres.host}")

    def _start_airflow(self) -> None:
        self._airflow.start()
        self._tell("Airflow", self._airflow.url)

    def _tell(self, what: str, text: str) -> None:
        self.say(f"  {what:<11} {text}   [{time.monotonic() - self._began:.0f} s]")

    def _services(self) -> tuple[Service, ...]:
        own = [part.service for part in (self._broker, self._postgres) if part and part.service]
        return (*own, *self._airflow.services)

    def _standing(self) -> Standing:
        return Standing(
            home=self.wishes.home,
            bootstrap=self.bootstrap,
            airflow_url=self._airflow.url,
            warehouse=self.wishes.warehouse,
            postgres_dsn=self._postgres.dsn(DATABASE) if self._postgres else "",
            services=self._services(),
        )

    def _connect(self, standing: Standing) -> None:
        api = standing.api()
        kafka = {"connection_id": "kafka_default", "conn_type": "kafka"}
        api.put_connection({**kafka, "extra": json.dumps({"bootstrap.servers": standing.bootstrap})})
        api.put_connection(self._warehouse_connection())
        api.close()

    def _warehouse_connection(self) -> dict[str, str | int | None]:
        fields: dict[str, str | int | None] = {"connection_id": "warehouse_default"}
        if self._postgres:
            fields |= {"conn_type": "postgres", "host": self._postgres.host, "port": self._postgres.port}
            return fields | {"login": self._postgres.user, "schema": DATABASE}
        self.wishes.duckdb_file.parent.mkdir(parents=True, exist_ok=True)
        fields |= {"conn_type": "duckdb", "host": str(self.wishes.duckdb_file), "port": None}
        return fields | {"login": None, "schema": None}


def shown(path: object) -> str:
    """Returns a path as a person in the project's folder would write it."""
    text = str(path)
    return text.removeprefix(f"{ROOT}/")


def _side_by_side(parts: list[Callable[[], None]]) -> None:
    """Runs all parts at once; the first one that fails ends the waiting, as does a Ctrl-C."""
    pool = ThreadPoolExecutor(len(parts))
    try:
        futures: list[Future[None]] = [pool.submit(part) for part in parts]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
