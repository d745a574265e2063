"""The embedded broker: an SQLite file (or memory) with the same semantics as the servers, for one machine.

`sqlite:///bus.db` keeps messages in a file that any number of processes of one machine share; `memory://` keeps them
for as long as the application runs. See docs/adr/0005 for how, and why SQLite.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from waybill.adapter import Admin, Attributes, Capabilities, Describes, Limits, Notify, Sink
from waybill.backing import Copied, Progress
from waybill.errors import BrokerError, BrokerFileError
from waybill.findings import Finding
from waybill.loading import AdapterContext
from waybill.opening import opened
from waybill.outcomes import Ack, DeadLetter, Defer, Release, SettlementKind
from waybill.topology import Destination, Subscription, Topology
from waybill_embedded.admin import FileAdmin
from waybill_embedded.backup import back_up
from waybill_embedded.claims import release_owner
from waybill_embedded.dead import DeadSource
from waybill_embedded.describing import of_place
from waybill_embedded.diagnosis import diagnose
from waybill_embedded.engine import Engine
from waybill_embedded.file import locate
from waybill_embedded.members import Members
from waybill_embedded.pattern import PatternSource
from waybill_embedded.sink import FileSink
from waybill_embedded.source import FileSource

__all__ = ["EmbeddedAdapter", "adapter"]

PATIENCE = 2.0
"""Seconds that leaving waits for its turn."""
MOMENT = 0.1
"""Seconds that it waits behind one who is not ours and has the file locked."""
LIMITS = Limits(body_bytes=16 << 20, header_bytes=256 << 10)
"""SQLite itself carries a gigabyte a row; a message that no other broker could carry should not pass unnoticed."""


def adapter(url: str, context: AdapterContext) -> EmbeddedAdapter:
    """The entry point for `sqlite://` and `memory://`."""
    return EmbeddedAdapter(url, context)


class EmbeddedAdapter(Describes):
    """One open file, and this process as one of its members."""

    native_settlements: frozenset[SettlementKind] = frozenset({Ack, Defer, Release, DeadLetter})

    def __init__(self, url: str, context: AdapterContext) -> None:
        self._location = locate(url, context.options.get("embedded", {}))
        self._clock = context.clock
        self._create = context.create
        self._engine = Engine(self._location)
        self._members = Members(self._location)
        self.admin: Admin = FileAdmin(self._engine, self._clock)
        self.claims = Capabilities(
            broker="the embedded broker",
            version=f"SQLite {sqlite3.sqlite_version}",
            ordered=True,
            durable=self._location.path is not None,
            holds_key_from=0.0,
            acks_surely=True,
            filters=True,
            patterns=True,
            ephemeral=True,
            history=True,
            limits_length=True,
            dedup_window=None,
            one_machine=True,
            sends_in_order=True,
        )
        self.capabilities = self.claims

    async def __aenter__(self) -> Self:
        path = self._location.path
        if path is not None and not self._create and not Path(path).exists():  # noqa: ASYNC240 - it is a stat
            raise BrokerFileError(f"{path} does not exist, so there is nothing to look at: check --url, or WAYBILL_URL")
        await self._engine.open()
        try:
            self._members.open()
        except BaseException:
            await self._engine.close()
            raise
        self._clock.on_jump(self._members.wake)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._members.id:
                async with asyncio.timeout(MOMENT if self._engine.held_up else PATIENCE):
                    await self._engine.write(self._leave)
        except (TimeoutError, BrokerError):
            pass  # the others find the doorbell silent and clear up
        finally:
            self._members.close()
            await self._engine.close()

    def _leave(self, connection: sqlite3.Connection) -> None:
        release_owner(connection, self._members.id)
        self._members.bury(connection, self._members.id, dead=False)

    def gaps(self, topology: Topology) -> Sequence[str]:
        del topology  # it carries every name, and has no options of its own
        return ()

    def limits(self, destination: Destination) -> Limits:
        del destination  # the same everywhere
        return LIMITS

    @asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        yield FileSink(self._engine, self._members, destination, self._clock)

    def source(
        self, subscription: Subscription, *, window: int, notify: Notify
    ) -> AbstractAsyncContextManager[FileSource | PatternSource]:
        del window  # nothing is fetched ahead: what is asked for is the window
        kind = PatternSource if subscription.topic.pattern else FileSource
        return opened(kind(self._engine, self._members, subscription, self._clock, notify))

    def dead_letters(self, subscription: Subscription) -> AbstractAsyncContextManager[DeadSource]:
        return opened(DeadSource(self._engine, self._members, subscription))

    async def backup(self, path: Path, progress: Progress) -> Copied:
        """Copy the file into another one. See `waybill.backing.Backs`."""
        return await back_up(self._location, path, progress)

    def place_attributes(self, place: Destination | Subscription) -> Attributes:
        """See `waybill.adapter.Describes`."""
        return of_place(place)

    async def diagnose(self) -> Sequence[Finding]:
        """Look at the file, its disk and its users. See `waybill.findings.Diagnoses`."""
        return await diagnose(self._location)
