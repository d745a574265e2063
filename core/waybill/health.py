"""How an application is, judged by its progress: sockets may be open while nothing moves.

A subscription is `degraded` when something keeps it from moving that may pass by itself (the broker is away, settlements
wait, messages lie ready and none is delivered), and `down` when only a new process would help. Asking costs nothing and
connects to nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

import msgspec

from waybill.adapter import Admin
from waybill.consumer import Consumer
from waybill.errors import BrokerError
from waybill.explaining import weaker
from waybill.producer import Producer
from waybill.redaction import redact
from waybill.retry import duration
from waybill.topology import Backlog

__all__ = ["Health", "Part", "Status", "judge", "watch"]

log = logging.getLogger("waybill.health")


class Status(Enum):
    """From good to bad."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription (`topic/group`) or one topic that is published to (`topic`)."""

    name: str
    status: Status
    reasons: Sequence[str] = ()
    """Why it is not up; or, with `up`, what is worth knowing, e.g. `paused`."""
    running: int = 0
    """Handlers at work."""
    held: int = 0
    """Messages held and not settled."""
    idle: float | None = None
    """Seconds since a message was delivered; `None`: none was yet."""
    stuck: bool = False
    """A subscription that does not move though nobody wants that: neither paused nor waiting for a circuit, a limit."""
    weaker: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    """Where the broker does less than others do, or Waybill in its place: what about, and what that is worth."""


class Health(msgspec.Struct, frozen=True):
    """The worst of the parts, and the parts. `msgspec.to_builtins` makes plain data of it."""

    status: Status
    parts: Sequence[Part]

    @property
    def ok(self) -> bool:
        """Whether it can go on in this process: not `down`."""
        return self.status is not Status.DOWN

    @property
    def ready(self) -> bool:
        """Whether each subscription moves that is meant to.

        A circuit that is open, or a publish that failed, is no reason to take a process out: the one is meant, and the
        other is over with the next that is taken, which would then never come.
        """
        return self.ok and not any(part.stuck for part in self.parts)


def judge(consumers: Iterable[Consumer], producers: Iterable[Producer]) -> Health:
    """The health of what runs, from what is known of it."""
    parts = [_consuming(consumer) for consumer in consumers]
    parts += [_publishing(producer) for producer in producers]
    order = list(Status)
    worst = max((part.status for part in parts), key=order.index, default=Status.UP)
    return Health(worst, parts)


def _consuming(consumer: Consumer) -> Part:
    status, reasons = Status.UP, list[str]()
    if consumer.paused:
        reasons.append("paused")
    for reason in (consumer.trouble, consumer.stalled, *(gate.shut for gate in consumer.gates)):
        if reason is not None:
            status = Status.DEGRADED
            reasons.append(redact(reason))
    if consumer.hung:
        status = Status.DOWN
        reasons.append(f"{consumer.hung} handlers do not end though their time is over: replace this process")
    if not consumer.fetching:
        status = Status.DOWN
        reasons.append("it has stopped fetching")
    last = consumer.delivered
    stuck = consumer.trouble is not None or consumer.stalled is not None
    return Part(
        name=consumer.subscription.name,
        status=status,
        reasons=reasons,
        running=consumer.running,
        held=consumer.held,
        idle=None if last is None else round(time.monotonic() - last, 3),
        stuck=stuck or status is Status.DOWN,
        weaker=dict(weaker(consumer._adapter, consumer.subscription)),
    )


def _publishing(producer: Producer) -> Part:
    trouble = producer.trouble
    return Part(
        name=producer.topic,
        status=Status.UP if trouble is None else Status.DEGRADED,
        reasons=() if trouble is None else (f"the last publish failed: {redact(trouble)}",),
        held=producer.waiting,
    )


async def watch(consumers: Sequence[Consumer], admin: Admin, patience: float) -> None:
    """See that what lies ready is delivered: a subscription that gets nothing for `patience` seconds though something lies
    ready and handlers are idle is marked, and its way to the broker made anew. Never returns.

    What lies ready is asked for no more often: where a call costs money, an idle group would cost more than a busy one.
    """
    asked: dict[str, float] = {}
    while True:
        await asyncio.sleep(min(5.0, patience / 4))
        for consumer in consumers:
            name, now = consumer.subscription.name, time.monotonic()
            if consumer.waits_for_messages(patience):
                if now < asked.get(name, 0.0) + patience:
                    continue
                asked[name] = now
            try:
                await _look(consumer, admin, patience)
            except (BrokerError, TimeoutError) as error:  # the consumer itself meets the same trouble, and tells it
                log.debug("%s: its backlog cannot be seen: %s", consumer, error)
            except Exception:  # an adapter's bug: said loudly, and tried again, since nobody else would
                log.exception("%s: the adapter failed to tell its backlog", consumer)


async def _look(consumer: Consumer, admin: Admin, patience: float) -> None:
    if not consumer.waits_for_messages(patience):
        if consumer.moved or not consumer.wants:
            consumer.stalled = None
        return
    ready = 0.0
    async with asyncio.timeout(patience):
        for group in await admin.expand(consumer.subscription):
            ready += _for_anyone(await admin.backlog(group))
    if not ready:
        consumer.stalled = None
    elif consumer.waits_for_messages(patience):
        consumer.stalled = f"{ready:g} messages are ready and none was delivered for {duration(patience)}"
        log.warning("%s: %s: connecting it anew", consumer, consumer.stalled)
        await consumer.reconnect()


def _for_anyone(backlog: Backlog) -> float:
    """What lies ready and nobody has to wait for. In an ordered group, what another member handles may hold it back."""
    if backlog.subscription.ordered and backlog.in_flight.value:
        return 0.0
    return backlog.ready.value or 0.0
