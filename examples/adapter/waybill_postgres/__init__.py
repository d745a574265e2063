"""PostgreSQL as a broker: a row for each message and group, taken with `FOR UPDATE SKIP LOCKED`.

`postgresql://user:password@host/database`; what else there is to say stands in `[broker.postgres]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from types import TracebackType
from typing import Self

import msgspec

from waybill.adapter import Admin, Capabilities, Limits, Notify, Sink
from waybill.loading import AdapterContext
from waybill.opening import opened
from waybill.outcomes import Ack, DeadLetter, Defer, Release, SettlementKind
from waybill.tables import read_table
from waybill.topology import Destination, Subscription, Topology
from waybill_postgres.admin import TableAdmin
from waybill_postgres.link import Link, Options, Place
from waybill_postgres.sink import TableSink
from waybill_postgres.source import DeadSource, GroupSource

__all__ = ["Options", "PostgresAdapter", "adapter"]

LIMITS = Limits(body_bytes=16 << 20)


def adapter(url: str, context: AdapterContext) -> PostgresAdapter:
    """The entry point for `postgresql://`."""
    return PostgresAdapter(url, context)


class PostgresAdapter:
    """One schema of one database."""

    native_settlements: frozenset[SettlementKind] = frozenset({Ack, Defer, Release, DeadLetter})

    def __init__(self, url: str, context: AdapterContext) -> None:
        self._place = Place(url, read_table(Options, "postgres", context.options.get("postgres", {})))
        self._link = Link(self._place)
        self._clock = context.clock
        self.admin: Admin = TableAdmin(self._link, self._place.options.schema_name)
        self.claims = Capabilities(
            broker="PostgreSQL",
            ordered=True,
            durable=True,
            holds_key_from=0.0,
            acks_surely=True,
            sends_in_order=True,
        )
        self.capabilities = self.claims

    async def __aenter__(self) -> Self:
        await self._link.open()
        (row,) = await self._link.ask("asking for the version", "SHOW server_version")
        self.capabilities = msgspec.structs.replace(self.claims, version=f"PostgreSQL {row[0].partition(' ')[0]}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.close()

    def gaps(self, topology: Topology) -> Sequence[str]:
        del topology  # every name fits, and there are no options of a topic's own
        return ()

    def limits(self, destination: Destination) -> Limits:
        del destination  # the same everywhere
        return LIMITS

    def sink(self, destination: Destination) -> AbstractAsyncContextManager[Sink]:
        return nullcontext(TableSink(self._link, destination, self._clock))

    def source(
        self, subscription: Subscription, *, window: int, notify: Notify
    ) -> AbstractAsyncContextManager[GroupSource]:
        del window  # nothing is fetched ahead: what is asked for is the window
        return opened(GroupSource(self._place, self._link, subscription, notify))

    def dead_letters(self, subscription: Subscription) -> AbstractAsyncContextManager[DeadSource]:
        return opened(DeadSource(self._link, subscription))
