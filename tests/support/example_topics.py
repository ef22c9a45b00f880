"""The topics of docs/examples as people have them: what their producers send, bad records among it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from tests.support.records import Record

_START_MS = 1_767_225_600_000
_MINUTE_MS = 60_000


def orders(count: int, partitions: int = 2) -> Iterator[Record]:
    """Orders with a nested customer, an array of items, exact amounts, an epoch, and the order's id as the key."""
    chance = random.Random(1)
    for number in range(count):
        order_id = f"A-{100_000 + number}"
        prices = [f"{chance.randrange(100, 20_000) / 100:.2f}" for _ in range(chance.randrange(1, 4))]
        items = ", ".join(
            f'{{"sku": "SKU-{chance.randrange(500):03}", "quantity": {chance.randrange(1, 4)}, "unit_price": {price}}}'
            for price in prices
        )
        customer = {"id": chance.randrange(4_000), "email": f"c{number}@example.com", "country": chance.choice("ADF")}
        if chance.random() < 0.1:
            customer["company"] = "Example Ltd."
        # By hand: a float of Python's would lose the zeros behind the point, which producers of money keep.
        value = (
            f'{{"order_id": "{order_id}", "customer": {json.dumps(customer)}, "items": [{items}], '
            f'"total": {chance.randrange(100, 90_000) / 100:.2f}, "currency": "{chance.choice(["EUR", "USD"])}", '
            f'"coupon": {chance.choice(["null", json.dumps("SPRING")])}, '
            f'"placed_at": {_START_MS + number * _MINUTE_MS}}}'
        )
        yield Record(value.encode(), order_id.encode(), number % partitions)


def bad_orders() -> list[Record]:
    """What becomes a dead letter: cut short, no customer, a third digit behind the point, a time as text."""
    good = json.loads(next(orders(1)).value or b"")
    changed: list[dict[str, Any]] = [{"customer": None}, {"total": 1.005}, {"placed_at": "2026-01-01T00:00:00Z"}]
    values = [json.dumps({**good, "order_id": f"B-{number}", **change}) for number, change in enumerate(changed)]
    return [Record(value.encode(), b"B") for value in [*values, values[0][:40]]]


def changes(count: int, partitions: int = 2) -> Iterator[Record]:
    """Changes of a table of accounts, as Debezium sends them; behind each delete comes a tombstone."""
    chance = random.Random(2)
    rows: dict[int, dict[str, Any]] = {}
    for lsn in range(count):
        account = chance.randrange(1, 50)
        before = rows.get(account)
        deleted = before is not None and chance.random() < 0.1
        row = {"id": account, "owner": f"owner {account}", "balance": f"{chance.randrange(9_999)}.50"}
        after = None if deleted else row
        value = {
            "before": {"id": account, "owner": None, "balance": None} if deleted else None,
            "after": after,
            "source": {"connector": "postgresql", "db": "bank", "table": "accounts", "lsn": 24_000_000 + lsn},
            "op": "d" if deleted else "c" if before is None else "u",
            "ts_ms": _START_MS + lsn * 1_000,
            "transaction": None,
        }
        key = json.dumps({"id": account}).encode()
        yield Record(json.dumps(value).encode(), key, account % partitions)
        if deleted:
            del rows[account]
            yield Record(None, key, account % partitions)
        elif after is not None:
            rows[account] = after


def bad_changes() -> list[Record]:
    """What becomes a dead letter: a row without its envelope, a TRUNCATE, no JSON."""
    good = json.loads(next(changes(1)).value or b"")
    values = [good["after"], {**good, "op": "t", "after": None}]
    return [*(Record(json.dumps(value).encode(), b"1") for value in values), Record(b"<change/>", b"1")]


def clicks(count: int = 2_100, partitions: int = 2) -> Iterator[Record]:
    """Clicks without a key, some of them alike to the last byte, and some with attributes of a campaign's own."""
    chance = random.Random(3)
    attributes = [f"exp_{name}" for name in ("banner", "price", "cart", "menu", "font", "hero", "cookie", "chat")]
    previous = None
    for number in range(count):
        click: dict[str, Any] = {
            "session": f"{chance.randrange(16**8):08x}",
            "url": chance.choice(["/", "/shop", "/shop/cart", "/help?q=a b"]),
            "at": f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z",
            "user_id": chance.choice([None, chance.randrange(9_999)]),
        }
        for _ in range(chance.choice([0, 0, 1, 1])):
            click[chance.choice(attributes)] = chance.choice(["a", "b", 3, {"seen": True}])
        # Twice the same within a second is two clicks.
        value = previous if previous and chance.random() < 0.05 else json.dumps(click).encode()
        previous = value
        yield Record(value, None, number % partitions)


def bad_clicks() -> list[Record]:
    """What becomes a dead letter: no address, a list, nothing at all."""
    value = json.dumps({"session": "a", "at": "2026-01-01T00:00:00Z"}).encode()
    return [Record(value), Record(b"[]"), Record(b"")]
