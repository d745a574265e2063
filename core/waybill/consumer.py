"""One subscription's consumer: what comes from its source, what becomes of it, and its life. Once, for all brokers.

    Source.receive → window (bounded in count and bytes: that bound is the back-pressure) → waiting, in lanes
                   → a handling: the pipeline (middleware, decode, handler) → an outcome → Settler → Source.settle

The parts are objects of their own, each with its own file, and know each other by what they are given here: `Admission`
what comes, `Waiting` which delivery starts next, `Handlings` the handlers that run, `Fetcher`, `Settler` and `Leases` the
calls to the source.
"""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import Task
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Literal

from waybill.adapter import Adapter, Describes, Event, Resumed, Revoked, Revoking, Source, capabilities_of
from waybill.admitting import Admission
from waybill.asking import Standstill
from waybill.clock import Clock
from waybill.codec import Lacking
from waybill.deadletters import Origin
from waybill.errors import BrokerError, CodecUnavailable, LeaseLost, shown
from waybill.fetching import LAST_CALL, Fetcher
from waybill.gates.gate import Gate
from waybill.handling import Handlings
from waybill.holding import Held, Window
from waybill.leases import Leases
from waybill.message import Delivery
from waybill.middleware import BatchHandler, Handler
from waybill.observing import Handled, Observers, Troubles
from waybill.options import ConsumerOptions
from waybill.outcomes import ACK, DONE, LOST, Ack, DeadLetter, Defer, Lost, Release, SettleResult
from waybill.settling import Place, Settler
from waybill.sharing import Shared
from waybill.topology import Destination, Subscription
from waybill.waiting import Waiting

__all__ = ["Consumer", "held_of"]

log = logging.getLogger("waybill.consumer")

MOMENT = 0.25
"""Seconds that a broker is given to let go at least, when it took nothing that was settled."""


def held_of(delivery: Delivery[Any]) -> Held | None:
    """What the consumer knows about a delivery it holds; `None` if it does not hold it (any more)."""
    holder = delivery._holder
    return holder.find(delivery) if isinstance(holder, Consumer) else None


class Consumer:
    """Consumes one subscription from `start` to `stop`."""

    def __init__(
        self,
        adapter: Adapter,
        subscription: Subscription,
        handler: Handler | BatchHandler,
        decode: Callable[[Any], Any],
        options: ConsumerOptions,
        *,
        clock: Clock,
        remote: bool = False,
        observers: Sequence[Callable[[Handled], None]] = (),
        shared: Shared | None = None,
        origin: Origin | None = None,
    ) -> None:
        """`handler`: one of batches where `options.batch` is given. `remote`: whether `decode` may raise `Lacking`. `shared`:
        with other consumers, if given. `origin`: what its dead letters tell of us."""
        self.subscription = subscription
        self.options = options
        self._adapter = adapter
        self._handler = handler
        self.decode = decode
        self._clock = clock
        self._remote = remote
        self._origin = origin or Origin()
        self._observers = Observers(observers, name=subscription.name, marked=self._origin.marked)
        self._window = Window(options.held, options.window_bytes)
        self._shared = Shared(options, clock) if shared is None else shared
        self._slots = self._shared.slots
        self._stack = AsyncExitStack()
        self._tasks: list[Task[None]] = []
        self._began = time.monotonic()
        self._barred = False
        """Whether nothing was to be fetched, when that was asked last."""
        self.delivered: float | None = None
        """When something was delivered last, on `time.monotonic()`."""
        self.stalled: str | None = None
        """Set from outside: messages lie ready, and none comes."""
        self._troubles = Troubles(name=subscription.name)

    # ---------------------------------------------------------------- life

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._can = capabilities_of(self._adapter, self.subscription.topic)
        self._fetcher = self._make_fetcher()
        self._stack.push_async_callback(self._fetcher.leave)
        await self._fetcher.connect()
        self._settler = self._make_settler()
        self._leases = self._make_leases()
        self._waiting = self._make_waiting()
        self._admission = self._make_admission()
        self._handlings = self._make_handlings()
        self._standstill = Standstill(
            on_trouble=lambda cause: self._troubles.note("codec", cause), on_over=self._go_on, name=str(self)
        )
        await self._join()
        self._fetcher.start()
        self._tasks = [self._spawn(self._leases.beat(), "leases"), self._spawn(self._handlings.sweep(), "timeouts")]

    async def _join(self) -> None:
        self._slots.join(self._handlings.dispatch)
        try:
            for gate in self.gates:
                gate.join(self._on_gate)
        except BaseException:  # one serves another event loop: nobody stops what has not started
            self._leave()
            await self._stack.aclose()
            raise

    def _leave(self) -> None:
        self._slots.leave(self._handlings.dispatch)
        for gate in self.gates:
            gate.leave(self._on_gate)

    def _make_fetcher(self) -> Fetcher:
        return Fetcher(
            self._adapter,
            self.subscription,
            window=lambda: self._window.limit,
            wanted=self._wanted,
            admit=self._admit,
            on_event=self._on_event,
            on_trouble=lambda cause: self._troubles.note("fetching", cause),
            on_connected=self._on_connected,
        )

    def _make_settler(self) -> Settler:
        return Settler(
            self._fetcher.source,
            native=self._adapter.native_settlements,
            longest_defer=self._can.longest_defer,
            holds_key_from=self._can.holds_key_from,
            retry=self._place("retry"),
            dead=self._place("dead"),
            clock=self._clock,
            on_results=self._on_results,
            on_stuck=self._on_stuck,
            sign=self._sign,
        )

    def _make_leases(self) -> Leases:
        return Leases(
            self._fetcher.source,
            self.subscription.lease,
            lock=self._settler.lock,
            held=lambda: list(self._window.held),
            lose=self._lose,
            give_back=lambda held: self._waiting.release(held.abandoned()),
            on_trouble=lambda cause: self._troubles.note("leases", cause),
        )

    def _make_waiting(self) -> Waiting:
        return Waiting(
            self._window,
            self._settler,
            self._clock,
            ordered=self.subscription.ordered,
            batch=self.options.batch,
            on_ready=self._dispatch,
            turns=self._shared.turns,
        )

    def _make_admission(self) -> Admission:
        return Admission(
            self.subscription,
            self.options,
            can=self._can,
            limits=self._adapter.limits(Destination("topic", self.subscription.topic)),
            window=self._window,
            waiting=self._waiting,
            settler=self._settler,
            clock=self._clock,
            holder=self,
        )

    def _make_handlings(self) -> Handlings:
        return Handlings(
            self._handler,
            self.options,
            waiting=self._waiting,
            settler=self._settler,
            slots=self._slots,
            clock=self._clock,
            on_retry=self._on_retry,
            on_unavailable=self._stand_still if self._remote else None,
            torn_down=lambda: self._tasks[0].cancelling() > 0,
            name=str(self),
            gates=self.gates,
            marked=self._origin.marked,
            spending=self._shared.spending,
        )

    def _sign(self, delivery: Delivery[Any], letter: DeadLetter) -> DeadLetter:
        if isinstance(self._adapter, Describes):
            place = self._adapter.location(self.subscription, delivery)
        else:
            place = delivery.partition or delivery.topic
        return DeadLetter(self._origin.sign(letter.record, delivery, place))

    def _place(self, kind: Literal["retry", "dead"]) -> Place:
        return Place(self._adapter, Destination(kind, self.subscription.topic, self.subscription.group), self._stack)

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> Task[None]:
        return self._loop.create_task(work, name=f"waybill-{what} {self.subscription.name}")

    async def reconnect(self) -> None:
        """Leave the way to the broker and make it anew, as often as it takes. What is held meanwhile is lost to others."""
        self._began = time.monotonic()
        await self._fetcher.reconnect(on_left=self._lose_all)

    async def stop(self, grace: float) -> None:
        """Stop fetching → release what has not started → let handlers finish → cancel the rest and release → settle → close.

        Handlers have `grace` seconds; the broker has `LAST_CALL` seconds more, to take what is settled and to let go.
        """
        end = self._loop.time() + grace
        last = float("inf")
        self._fetcher.close()
        self._handlings.close()
        try:
            await self._fetcher.quiesce(grace)
            self._waiting.give_back_all()
            await self._handlings.finish(end)
            last = self._loop.time() + LAST_CALL
            async with asyncio.timeout_at(last):
                await self._settler.drain()
        except TimeoutError:
            log.warning(
                "%s: closed with %d deliveries unsettled; they will be handed out again", self, len(self._window.held)
            )
        finally:
            await self._close(last)

    async def _close(self, last: float) -> None:
        self._leave()
        self._handlings.cancel()  # those that `stop` did not come to
        await self._standstill.end()
        tasks = [self._fetcher.task, *self._tasks]
        for task in tasks:
            task.cancel()
        await self._settler.close()
        await asyncio.wait(tasks, timeout=LAST_CALL)
        try:
            now = self._loop.time()
            async with asyncio.timeout_at(min(now + LAST_CALL, max(last, now + MOMENT))):
                await self._stack.aclose()
        except (TimeoutError, BrokerError) as error:
            log.warning("%s: not closed in order: %s", self, str(error) or "no answer in time")

    # ---------------------------------------------------------------- while it runs

    @property
    def gates(self) -> Sequence[Gate]:
        """What may keep its handlers from starting."""
        return self._shared.gates

    @property
    def fetching(self) -> bool:
        """Whether it still asks for messages."""
        return self._fetcher.lives

    @property
    def trouble(self) -> str | None:
        """Why the consumer is not moving now; `None` when nothing is known to be wrong."""
        return self._troubles.told

    @property
    def running(self) -> int:
        """Handlers at work."""
        return self._handlings.running

    @property
    def hung(self) -> int:
        """Handlers that were cancelled and run on long after: they ignore it, or are stuck in a thread."""
        return self._handlings.hung

    @property
    def held(self) -> int:
        """Messages held and not settled."""
        return len(self._window.held)

    @property
    def settling(self) -> bool:
        """Whether something has ended of which the broker has not been told, or has not answered."""
        return self._settler.busy

    @property
    def gathering(self) -> int:
        """How many messages could be handled now and are not yet: handlers are busy, or a batch is not full."""
        return self._waiting.ready

    @property
    def moved(self) -> bool:
        """Whether anything was delivered since it connected."""
        return self.delivered is not None and self.delivered > self._began

    @property
    def wants(self) -> bool:
        """Whether it would take anything now: it is not paused, waits for no circuit and no limit, and has room."""
        return self._wanted() > 0

    def waits_for_messages(self, patience: float) -> bool:
        """Whether it could handle more, holds none, and has got none for `patience` seconds."""
        if self._window.held or self._fetcher.stopped or not self.wants:
            return False
        return time.monotonic() - max(self._began, self.delivered or 0.0) > patience

    def pause(self) -> None:
        """Start no handler until `resume`. Those that run finish; what is held stays held, its leases renewed."""
        self._handlings.paused = True

    def resume(self) -> None:
        self._began = time.monotonic()  # what lay ready until now is nobody's fault
        self._handlings.paused = False
        self._dispatch()
        self._fetcher.wake()

    @property
    def paused(self) -> bool:
        return self._handlings.paused

    def _stand_still(self, lacking: Lacking, error: CodecUnavailable) -> None:
        """Nothing is wrong with the messages: none is started until there is an answer."""
        self._handlings.standing = True
        self._standstill.begin(lacking, error)

    def _go_on(self) -> None:
        self._began = time.monotonic()
        self._handlings.standing = False
        self._dispatch()
        self._fetcher.wake()

    @property
    def concurrency(self) -> int:
        """Handlers at once. May be set while running: fewer takes effect as running ones end, more at once.

        Where one handler serves several topics, it is the number for all of them.
        """
        return self._slots.number

    @concurrency.setter
    def concurrency(self, handlers: int) -> None:
        options = self.options.resized(handlers)
        self._slots.number = options.concurrency
        self._window.limit = options.held
        self._slots.offer()
        self._fetcher.wake()

    def find(self, delivery: Delivery[Any]) -> Held | None:
        """What is known about a delivery that a handler runs on now."""
        return self._handlings.find(delivery)

    async def extend(self, delivery: Delivery[Any], more: float) -> None:
        """Serves `Delivery.extend`."""
        held = self.find(delivery)
        if held is None or held.run is None:
            raise LeaseLost("the handler has ended; there is nothing to extend")
        if self.options.timeout is not None:
            held.run.deadline = time.monotonic() + more
        await self._leases.renew([held])
        if held.lost:
            raise LeaseLost(f"message {delivery.message.id} is no longer leased to this process")

    # ---------------------------------------------------------------- what comes

    def _wanted(self) -> int:
        """How many deliveries to ask for: none while settling is stuck."""
        if self._settler.stuck or self._handlings.paused or self._handlings.standing:
            return 0
        wanted = self._window.wanted(idle=self._slots.free)
        for gate in self.gates:
            wanted = gate.wanted(wanted, self._waiting.ready) if wanted else 0
        if self.gates and self._barred and wanted:
            self._began = time.monotonic()  # what lay ready until now is nobody's fault
        self._barred = not wanted
        return wanted

    def _admit(self, deliveries: Sequence[Delivery[Any]]) -> None:
        self.delivered = now = time.monotonic()
        self._leases.give_back_overdue()
        self._admission.admit(deliveries, now)
        self._dispatch()

    def _on_gate(self) -> None:
        self._dispatch()
        self._fetcher.wake()

    def _dispatch(self) -> None:
        self._handlings.dispatch()

    def _on_connected(self, source: Source) -> None:
        self._settler.source = self._leases.source = source
        self._troubles.note("fetching", None)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Revoked):
            gone = {delivery.token for delivery in event.deliveries}
            for held in [held for held in self._window.held if held.delivery.token in gone]:
                self._lose(held)
        elif isinstance(event, Revoking):
            for held in [held for held in self._window.held if held.delivery.partition in event.partitions]:
                if held.waits:
                    self._waiting.give_back(held)
        elif isinstance(event, Resumed):
            self._troubles.note("fetching", None)
        else:
            self._troubles.note("fetching", f"the broker does not deliver: {event.cause}")

    # ---------------------------------------------------------------- what becomes of it

    def _on_results(self, results: Sequence[tuple[Held, SettleResult]]) -> None:
        observed = bool(self._observers)
        for held, result in results:
            self._window.remove(held)
            if held.former:
                self._give_back_former(held)
            if held.outcome is not ACK or result is not DONE:
                self._settled(held, result)
            elif not held.skipped:  # as nearly always
                if not self._can.acks_surely:
                    self._admission.remember(held)
                if observed:
                    self._observers.tell(Handled(delivery=held.delivery, settlement=ACK, result=DONE))
        self._fetcher.wake()

    def _settled(self, held: Held, result: SettleResult) -> None:
        settlement = held.outcome
        assert settlement is not None  # noqa: S101 - nothing is settled without an outcome
        if lost := isinstance(result, Lost):
            held.lost = True
        if isinstance(settlement, Release):
            self._waiting.returned(held)
        if held.skipped:
            return
        if (isinstance(settlement, Ack) or held.placed) and (lost or not self._can.acks_surely):
            self._admission.remember(held)
        if isinstance(settlement, Defer) and held.lane is not None and not settlement.relaxed:
            self._waiting.give_back_lane(held.lane)  # those that arrived while the broker was taking the retry
        if lost and held.placed:  # its copy is where it should be, whoever has the original
            result = DONE
        self._observers.tell(Handled(delivery=held.delivery, settlement=settlement, result=result))

    def _on_retry(self, held: Held, settlement: Defer) -> None:
        """A handler is free, although nothing was settled."""
        self._observers.tell(Handled(delivery=held.delivery, settlement=settlement, result=DONE))
        self._fetcher.wake()

    def _on_stuck(self, cause: str | None) -> None:
        self._troubles.note("settling", None if cause is None else f"settlements wait: {cause}")
        if cause is None:
            self._dispatch()
            self._fetcher.wake()

    def _lose(self, held: Held) -> None:
        """The delivery is no longer ours: stop its handler; what has not started is forgotten, and its lane given back."""
        if held.lost or held not in self._window.held:
            return
        held.lost = True
        if held.run is not None:
            message = shown(held.delivery.message.id)
            log.warning("%s: the lease of message %s was lost while its handler ran", self, message)
            held.run.cancel("lease")
        elif held.outcome is None:
            self._waiting.forget(held)
            self._observers.tell(Handled(delivery=held.delivery, settlement=held.released, result=LOST))
            self._give_back_former(held)
            self._dispatch()
            self._fetcher.wake()

    def _give_back_former(self, held: Held) -> None:
        for former in held.former:
            self._waiting.release(former)

    def _lose_all(self) -> None:
        for held in list(self._window.held):
            self._lose(held)

    def __str__(self) -> str:
        return self.subscription.name
