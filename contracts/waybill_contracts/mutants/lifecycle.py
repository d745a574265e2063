"""Wrong about starting, stopping, and what is left behind."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from waybill.adapter import Notify, Source
from waybill.outcomes import DONE, Ack, Release, Settled, SettleResult
from waybill.topology import Subscription
from waybill_contracts.mutants.moves import parted
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []

LEAVING: set[Wrapped] = set()
LEFT: list[Any] = []
"""What is left behind on purpose."""


@mutant("L02", "fault-19")
class SettlesNothingAtTheEnd(Wrapped):
    """What is settled after the consumer was told to end does not reach the broker."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._ending = False

    async def do_quiesce(self, source: Source) -> None:
        self._ending = True
        await super().do_quiesce(source)

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        if self._ending:
            return [DONE] * len(settled)
        return await super().do_settle(source, subscription, settled)


@mutant("L05")
class KeepsWhatIsReleased(Wrapped):
    """A release is not told to the broker: what was held comes back when the lease has run out."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        _, told = parted(settled, Release)
        if told:
            await super().do_settle(source, subscription, told)
        return [DONE] * len(settled)

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        """Never left, so that nothing is given back by leaving it either."""
        left = super().source(subscription, window=window, notify=notify)
        LEFT.append(left)
        yield await left.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        LEFT.append(self)


@mutant("L06")
class LeavesOneAtATime(Wrapped):
    """Two that disconnect at once wait for each other."""

    async def closing(self) -> None:
        LEAVING.add(self)
        await asyncio.sleep(0.05)
        if len(LEAVING) > 1:
            await asyncio.sleep(3600)
        LEAVING.discard(self)


@mutant("L07")
class LosesItsLastAcknowledgements(Wrapped):
    """Acknowledgements are sent with the next ones; the last are never."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._late: list[Settled] = []

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        late, others = parted(settled, Ack)
        sent, self._late = self._late + others, late
        if sent:
            await super().do_settle(source, subscription, sent)
        return [DONE] * len(settled)


@mutant("L08")
class LeavesATaskBehind(Wrapped):
    """What watches the connection is never told that it has ended."""

    async def opened(self) -> None:
        LEFT.append(asyncio.create_task(asyncio.sleep(600)))


@mutant("L08", "fault-11", "fault-22", "fault-23")
class LeavesAThreadBehind(Wrapped):
    """Each connection has a thread, which does not end."""

    async def opened(self) -> None:
        threading.Thread(target=threading.Event().wait, daemon=True).start()


@mutant("L08")
class LeavesAFileBehind(Wrapped):
    """Each connection has a file, which is not closed."""

    async def opened(self) -> None:
        LEFT.append(Path(os.devnull).open("rb"))  # noqa: ASYNC230, SIM115 - that is the point


@mutant("L09")
class ConsumesOnAfterItsEnd(Wrapped):
    """The consumer at the broker outlives the one in the process, and goes on taking messages."""

    _outlived = False

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        async with super().source(subscription, window=window, notify=notify) as source:
            yield source
        stack, self._outlived = AsyncExitStack(), True
        again = await stack.enter_async_context(self.inner.source(subscription, window=window, notify=notify))
        LEFT.extend((stack, asyncio.create_task(self._take(again))))

    async def _take(self, source: Source) -> None:
        while True:
            LEFT.append(await source.receive(5))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._outlived:
            await super().__aexit__(kind, error, trace)


@mutant("L10")
class BlocksWhileItLeaves(Wrapped):
    """Disconnecting stops the event loop, so that nothing else is heard."""

    async def closing(self) -> None:
        if _is_worker():
            time.sleep(60)  # noqa: ASYNC251 - that is the point


@mutant("L10")
class HoldsTheProcess(Wrapped):
    """It has a thread that a program waits for at its end, and that does not end."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        if _is_worker():
            threading.Thread(target=threading.Event().wait).start()


def _is_worker() -> bool:
    """Whether this is a process that may hang; the one that runs the mutants may not."""
    return getattr(sys.modules["__main__"].__spec__, "name", "") == "waybill_contracts.working"
