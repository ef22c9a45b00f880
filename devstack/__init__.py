"""A real Kafka broker, PostgreSQL and Airflow on one machine: for `make run`, `make up` and the tests.

Not part of the wheel. Each of the three context managers gives a part that answers and leaves no process:

    with running_broker(folder) as broker: ...      # broker.bootstrap
    with running_postgres(folder) as postgres: ...  # postgres.dsn("a_database")
    with running_airflow(folder, dags) as airflow: ...  # airflow.api, airflow.url
"""

from devstack.airflow import Airflow, running_airflow
from devstack.airflow_api import AirflowApi, DagRun, TaskInstance
from devstack.broker import Broker, running_broker
from devstack.errors import StackError
from devstack.postgres import Postgres, running_postgres
from devstack.topics import ensure_topic

__all__ = [
    "Airflow",
    "AirflowApi",
    "Broker",
    "DagRun",
    "Postgres",
    "StackError",
    "TaskInstance",
    "ensure_topic",
    "running_airflow",
    "running_broker",
    "running_postgres",
]
