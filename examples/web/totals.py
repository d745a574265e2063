"""The read model: what each customer has ordered so far, in SQLite. An order that comes twice is counted once."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.web.contracts import OrderPlaced

__all__ = ["Total", "Totals"]

TABLE = (
    "CREATE TABLE IF NOT EXISTS orders (order_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, cents INTEGER NOT NULL)"
)


@dataclass(frozen=True, slots=True)
class Total:
    orders: int
    cents: int


class Totals:
    """In one file, for all processes and threads of the application."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, order: OrderPlaced) -> None:
        with self._open() as database:
            database.execute(
                "INSERT OR IGNORE INTO orders VALUES (?, ?, ?)", (order.order_id, order.customer_id, order.cents)
            )

    def of(self, customer_id: str) -> Total:
        query = "SELECT count(*), coalesce(sum(cents), 0) FROM orders WHERE customer_id = ?"
        with self._open() as database:
            return Total(*database.execute(query, (customer_id,)).fetchone())

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute(TABLE)
            yield connection
