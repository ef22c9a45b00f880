"""Orders with their customer, their items and exact amounts; what is nested is JSON, the customer's id a column too."""

from decimal import Decimal
from typing import Annotated, Any

import msgspec
from topicledger import Column, Digits, EpochMillis, Pipeline, columns_of
from topicledger.airflow import ledger_dag


class Customer(msgspec.Struct):
    id: int
    email: str


class Order(msgspec.Struct):
    order_id: str
    customer: Customer
    items: list[dict[str, Any]]
    total: Annotated[Decimal, Digits(12, 2)]
    placed_at: EpochMillis


COLUMNS = columns_of(Order, Column("customer_id", field="customer.id"))
ledger_dag(Pipeline(topic="orders", event=Order, key="order_id", columns=COLUMNS), schedule="@hourly")
