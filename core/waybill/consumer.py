"""One subscription's consumer: fetch, lanes, handlers, outcomes, leases, shutdown. Once, for all brokers.

    Source.receive → window (bounded in count and bytes: that bound is the back-pressure) → lanes → a task a handling
                   → the pipeline (middleware, decode, handler) → an outcome, in one place → Settler → Source.settle

A handling is a task of its own, so that context variables a handler sets end with it and cancelling one handler
touches no other; a batch is one handling. Timeouts are watched by one sweep for all handlers instead of a timer each.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from asyncio import Task
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar, copy_context
from types import MappingProxyType
from typing import Any

import msgspec

from waybill.adapter import Adapter, Event, Resumed, Revoked, Revoking, Sink, Source
from waybill.clock import Clock
from waybill.errors import BrokerError, ItemsFailed, LeaseLost, one_line, shown
from waybill.holding import Held, Run, Slots, Window
from waybill.judging import expired, failed, interrupted, ordinary, unhandled
from waybill.lanes import Lanes
from waybill.leases import Leases
from waybill.message import Delivery, Message
from waybill.middleware import BatchHandler, Handler
from waybill.options import ConsumerOptions
from waybill.outcomes import (
    ACK,
    DONE,
    LOST,
    RELEASE,
    Ack,
    DeadLetter,
    Defer,
    Lost,
    Release,
    Settlement,
    SettleResult,
)
from waybill.retry import duration
from waybill.settling import Settler, back_off
from waybill.topology import Destination, Subscription, fits

__all__ = ["Consumer", "Handled", "current_handling", "held_of"]

log = logging.getLogger("waybill.consumer")

LAST_CALL = 1.5
"""Seconds that the broker is given at the end to take what is settled, and again to let go."""
HUNG = 5.0
"""Seconds at least that a handler is given to end after its time is over."""
MEMORY = 10_000
"""Handled messages whose acknowledgement was lost that a consumer remembers."""

NO_ERRORS: Mapping[Held, BaseException] = MappingProxyType({})


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """One handling has ended and the broker has answered. `result` says whether it took the settlement."""

    delivery: Delivery[Any]
    settlement: Settlement
    result: SettleResult


current_handling: ContextVar[Held | None] = ContextVar("waybill_handling", default=None)
"""What the running handler is about: what it publishes takes its ids and its story from here."""


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
        observers: Sequence[Callable[[Handled], None]] = (),
        slots: Slots | None = None,
    ) -> None:
        """`handler`: one of batches where `options.batch` is given. `slots`: shared with other consumers, if given."""
        self.subscription = subscription
        self.options = options
        self._adapter = adapter
        self._handler: Any = handler
        self.decode = decode
        self._clock = clock
        self._observers = observers
        self._lanes: Lanes[Held] = Lanes(ordered=subscription.ordered)
        self._window = Window(options.held, options.window_bytes)
        self._slots = Slots(options.concurrency) if slots is None else slots
        self._running: set[Run] = set()
        self._most = options.retry.most
        self._relaxed = subscription.ordered and options.relaxed
        self._paused = False
        self._gathering: asyncio.TimerHandle | None = None
        self._unacknowledged: OrderedDict[tuple[str, int, int], None] = OrderedDict()
        self._stopping = False
        self._stopped = asyncio.Event()
        self._room = asyncio.Event()
        self._stack = AsyncExitStack()
        self._tasks: list[Task[None]] = []
        self._began = time.monotonic()
        self.delivered: float | None = None
        """When something was delivered last, on `time.monotonic()`."""
        self.stalled: str | None = None
        """Set from outside: messages lie ready, and none comes."""
        self.hung = 0
        """Handlers that were cancelled for running too long and run on: they ignore it, or are stuck in a thread."""
        self.trouble: str | None = None
        """Why the consumer is not moving now; `None` when nothing is known to be wrong."""

    # ---------------------------------------------------------------- life

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._can = self._adapter.capabilities
        self._limits = self._adapter.limits(Destination("topic", self.subscription.topic))
        self._link = AsyncExitStack()
        self._stack.push_async_callback(self._leave)
        self._source = await self._connect()
        self._settler = Settler(
            self._source,
            native=self._adapter.native_settlements,
            longest_defer=self._can.longest_defer,
            retry=self._place("retry"),
            dead=self._place("dead"),
            clock=self._clock,
            on_results=self._on_results,
            on_stuck=self._stuck,
        )
        self._leases = Leases(
            self._source,
            self.subscription.lease,
            lock=self._settler.lock,
            held=lambda: list(self._window.held),
            lose=self._lose,
            name=str(self),
        )
        self._skips = self.subscription.where and not self._can.filters
        self._slots.join(self._dispatch)
        self._fetching = self._loop.create_task(self._fetch(), name=f"waybill-fetch {self.subscription.name}")
        self._tasks = [
            self._loop.create_task(self._leases.beat(), name=f"waybill-leases {self.subscription.name}"),
            self._loop.create_task(self._sweep(), name=f"waybill-timeouts {self.subscription.name}"),
        ]

    async def _connect(self) -> Source:
        source = self._adapter.source(self.subscription, window=self._window.limit, notify=self._on_event)
        entered = await self._link.enter_async_context(source)
        self._linked = True
        return entered

    async def _leave(self) -> None:
        await self._link.aclose()

    async def reconnect(self) -> None:
        """Leave the way to the broker and make it anew, as often as it takes. What is held meanwhile is lost to others."""
        self._began = time.monotonic()
        self._fetching.cancel()
        await asyncio.wait([self._fetching], timeout=LAST_CALL)
        if self._stopping:
            return
        link, self._link, self._linked = self._link, AsyncExitStack(), False
        try:
            async with asyncio.timeout(LAST_CALL):
                await link.aclose()
        except (TimeoutError, BrokerError) as error:
            log.warning("%s: not left in order: %s", self, str(error) or "no answer in time")
        finally:
            for held in list(self._window.held):
                self._lose(held)
            self._fetching = self._loop.create_task(self._fetch(), name=f"waybill-fetch {self.subscription.name}")

    async def stop(self, grace: float) -> None:
        """Stop fetching → release what has not started → let handlers finish → cancel the rest and release → settle → close.

        Handlers have `grace` seconds; the broker has `LAST_CALL` seconds more to take what is settled and to let go.
        """
        end = self._loop.time() + grace
        self._stopping = True
        self._stopped.set()
        self._room.set()
        try:
            try:
                await self._source.quiesce()
            except BrokerError as error:
                log.warning("%s: the broker could not be asked to stop delivering: %s", self, error)
            await asyncio.wait([self._fetching], timeout=max(1.0, grace))
            self._fetching.cancel()  # it has ended, unless the broker hangs
            self._give_back_unstarted()
            if running := self._handler_tasks():
                await asyncio.wait(running, timeout=max(0.0, end - self._loop.time()))
            for run in list(self._running):
                run.cancel("shutdown")
            if running := self._handler_tasks():
                _, stuck = await asyncio.wait(running, timeout=1.0)
                for _ in stuck:
                    log.error("%s: a handler does not end though cancelled; its message will be handed out again", self)
            async with asyncio.timeout(LAST_CALL):
                await self._settler.drain()
        except TimeoutError:
            log.warning(
                "%s: closed with %d deliveries unsettled; they will be handed out again", self, len(self._window.held)
            )
        finally:
            await self._close()

    async def _close(self) -> None:
        self._slots.leave(self._dispatch)
        for run in list(self._running):  # those that `stop` did not come to
            run.cancel("shutdown")
        for task in (self._fetching, *self._tasks):
            task.cancel()
        await self._settler.close()
        await asyncio.wait([self._fetching, *self._tasks], timeout=LAST_CALL)
        try:
            async with asyncio.timeout(LAST_CALL):
                await self._stack.aclose()
        except (TimeoutError, BrokerError) as error:
            log.warning("%s: not closed in order: %s", self, str(error) or "no answer in time")

    def _handler_tasks(self) -> list[Task[None]]:
        return [run.task for run in self._running if run.task is not None]

    def _place(self, kind: Any) -> Callable[[], Any]:
        opened: list[Sink] = []

        async def place() -> Sink:
            if not opened:
                destination = Destination(kind, self.subscription.topic, self.subscription.group)
                opened.append(await self._stack.enter_async_context(self._adapter.sink(destination)))
            return opened[0]

        return place

    # ---------------------------------------------------------------- while it runs

    @property
    def fetching(self) -> bool:
        """Whether it still asks for messages."""
        return self._stopping or not self._fetching.done()

    @property
    def running(self) -> int:
        """Handlers at work."""
        return len(self._running)

    @property
    def held(self) -> int:
        """Messages held and not settled."""
        return len(self._window.held)

    @property
    def moved(self) -> bool:
        """Whether anything was delivered since it connected."""
        return self.delivered is not None and self.delivered > self._began

    def waits_for_messages(self, patience: float) -> bool:
        """Whether it could handle more, holds none, and has got none for `patience` seconds."""
        idle = time.monotonic() - max(self._began, self.delivered or 0.0)
        return idle > patience and not self._window.held and self._wanted() > 0 and not self._stopping

    def pause(self) -> None:
        """Start no handler until `resume`. Those that run finish; what is held stays held, its leases renewed."""
        self._paused = True

    def resume(self) -> None:
        self._began = time.monotonic()  # what lay ready until now is nobody's fault
        self._paused = False
        self._dispatch()
        self._check_room()

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def gathering(self) -> int:
        """How many messages could be handled now and are not yet: handlers are busy, or a batch is not full."""
        return self._lanes.ready

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
        if hasattr(self, "_settler"):
            self._slots.offer()
            self._check_room()

    # ---------------------------------------------------------------- fetching

    async def _fetch(self) -> None:
        failures = 0
        while not self._stopping:
            wanted = self._wanted()
            if not wanted:
                self._room.clear()
                await self._room.wait()
                continue
            try:
                if not self._linked:
                    self._source = self._settler.source = self._leases.source = await self._connect()
                    self._trouble(None)
                deliveries = await self._source.receive(wanted)
                if deliveries:
                    self._admit(deliveries)
            except BrokerError as error:
                failures += 1
                self._trouble(f"cannot receive: {error}")
                await self._pause(back_off(failures))
            except Exception as error:  # an adapter's bug: said loudly, and tried again, since nobody else would
                failures += 1
                log.exception("%s: the adapter failed to receive", self)
                self._trouble(f"the adapter failed to receive: {error!r}")
                await self._pause(back_off(failures))
            else:
                if failures:
                    failures = 0
                    self._trouble(None)

    async def _pause(self, seconds: float) -> None:
        """Sleep, but no longer than until `stop`."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            pass

    def _wanted(self) -> int:
        """How many deliveries to ask for: none while settling is stuck."""
        if self._settler.stuck or self._paused:
            return 0
        return self._window.wanted(idle=self._slots.free)

    def _admit(self, deliveries: Sequence[Delivery[Any]]) -> None:
        self.delivered = now = time.monotonic()
        helds: list[Held] = []
        for delivery in deliveries:
            message = delivery.message
            held = Held(delivery, delivery.lease_until, since=now, handed=delivery.attempt)
            if self._relaxed and message.attempts:  # a copy that was put off, on a broker that makes copies
                msgspec.structs.force_setattr(delivery, "out_of_order", True)
            if self.subscription.ordered and not delivery.out_of_order:
                held.lane = self._lane(delivery)
            helds.append(held)
            if message.headers:  # what one handler does to them is not seen by the next
                msgspec.structs.force_setattr(message, "headers", MappingProxyType(dict(message.headers)))
            msgspec.structs.force_setattr(delivery, "_holder", self)
        self._window.add(helds)
        for held in helds:
            settlement = self._decided(held)
            if settlement is not None:
                self._settler.add(held, settlement)
            else:
                self._lanes.add(held.lane, held)
        self._dispatch()

    def _lane(self, delivery: Delivery[Any]) -> str | None:
        """What orders it. Topics that fit one pattern are ordered each for itself."""
        key = delivery.message.key
        return f"{delivery.topic} {key}" if key is not None and self.subscription.topic.pattern else key

    def _decided(self, held: Held) -> Settlement | None:
        """What becomes of a delivery without any handling; `None`: it is to be handled."""
        delivery = held.delivery
        if self._skips and not fits(self.subscription.where, delivery.message.headers):
            held.skipped = True
            return ACK
        if self._unacknowledged and self._was_handled(delivery):
            return ACK
        if ordinary(delivery, self._most, self._limits):
            return None
        return unhandled(delivery, self._most, self._clock.time(), self._limits)

    def _was_handled(self, delivery: Delivery[Any]) -> bool:
        return (
            delivery.redelivered
            and self._unacknowledged.pop(_identity(delivery.message, delivery.attempt), self) is None
        )

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Revoked):
            gone = {delivery.token for delivery in event.deliveries}
            for held in [held for held in self._window.held if held.delivery.token in gone]:
                self._lose(held)
        elif isinstance(event, Revoking):
            for held in [held for held in self._window.held if held.delivery.partition in event.partitions]:
                if held.run is None and held.outcome is None:
                    for item in self._evict(held):
                        self._give_back(item)
        elif isinstance(event, Resumed):
            self._trouble(None)
        else:
            self._trouble(f"the broker does not deliver: {event.cause}")

    # ---------------------------------------------------------------- handling

    def _dispatch(self) -> None:
        """Start what may start."""
        if self._settler.stuck or self._paused or self._stopping:
            return
        timeout = self.options.timeout
        now = time.monotonic()
        deadline = float("inf") if timeout is None else now + timeout
        while self._slots.free:
            helds = self._next(now)
            if not helds:
                break
            run = Run(helds, deadline)
            for held in helds:
                held.run = run
            self._slots.taken += 1
            self._running.add(run)
            # a context of its own: this may run in the task of the handler before
            context = self._context.copy()
            handling = self._handle(run, helds[0]) if self.options.batch is None else self._handle_batch(run)
            run.task = self._loop.create_task(handling, name="waybill-handler", context=context)

    def _next(self, now: float) -> Sequence[Held]:
        """What the next handler is for: one delivery, or a batch. Empty: nothing may start now."""
        if self.options.batch is None:
            held = self._take(now)
            return () if held is None else (held,)
        first = self._lanes.next
        if first is None or not self._enough(first, now):
            return ()
        batch: list[Held] = []
        while len(batch) < self.options.batch.size and (following := self._lanes.next) is not None:
            alone = following.delivery.attempt > 1  # it failed: so that it can be told from those it was with
            if alone and batch:
                break
            self._lanes.take()
            if self._is_worth(following, now):
                batch.append(following)
                if alone:
                    break
        return batch

    def _enough(self, first: Held, now: float) -> bool:
        """Whether a batch is to be started now; if not, a timer looks again."""
        batch = self.options.batch
        assert batch is not None  # noqa: S101 - asked for batches only
        if first.delivery.attempt > 1 or self._lanes.ready >= batch.size or self._window.full:
            return True
        left = first.since + batch.pause - now
        if left > 0 and self._gathering is None:
            self._gathering = self._loop.call_later(left, self._gathered)
        return left <= 0

    def _gathered(self) -> None:
        self._gathering = None
        self._dispatch()

    def _take(self, now: float) -> Held | None:
        """The next delivery that may start and is still worth it; `None`: there is none."""
        while (held := self._lanes.take()) is not None:
            if self._is_worth(held, now):
                return held
        return None

    def _is_worth(self, held: Held, now: float) -> bool:
        """Whether a handler is to be started for it still; if not, it is settled."""
        if held.lease_until < now:  # stopped or stalled meanwhile: by now it may be somebody else's
            self._give_back(held)
            if held.lane is not None:
                self._give_back_lane(held.lane)
            return False
        if held.delivery.message.expires and (settlement := expired(held.delivery, self._clock.time())):
            self._settler.add(held, settlement)
            self._lanes.done(held.lane)
            return False
        return True

    async def _handle(self, run: Run, held: Held) -> None:
        current_handling.set(held)
        try:
            run.begin()
            await self._handler(held.delivery)
        except BaseException as error:
            if isinstance(error, GeneratorExit) and not self._loop.is_running():
                raise  # nobody runs this any more: the interpreter throws it away
            self._ended(run, {held: error})
            if interrupted(error):
                raise
        else:
            self._ended(run, NO_ERRORS)

    async def _handle_batch(self, run: Run) -> None:
        errors: dict[Held, BaseException] = {}
        for held in run.helds:
            try:
                held.delivery.value  # noqa: B018 - decoded here, so that a body that does not fit fails alone
            except Exception as error:  # noqa: BLE001 - a codec that breaks as well: judged for each
                errors[held] = error
        sound = [held for held in run.helds if held not in errors] if errors else run.helds
        current_handling.set(sound[0] if len(sound) == 1 else None)
        failure: BaseException | None = None
        try:
            run.begin()
            if sound:
                await self._handler([held.delivery for held in sound])
        except BaseException as error:
            if isinstance(error, GeneratorExit) and not self._loop.is_running():
                raise
            failure = error
            errors |= _by_item(sound, error)
        self._ended(run, errors)
        if failure is not None and interrupted(failure):
            raise failure

    def _judge(self, run: Run, held: Held, error: BaseException) -> Settlement:
        if run.cause in {"shutdown", "lease"} or interrupted(error) or self._is_torn_down(error):
            return self._released(held)  # not the message's fault, whatever the handler made of being cancelled
        settlement = failed(
            held.delivery,
            error,
            self.options,
            timed_out=run.cause == "timeout",
            now=self._clock.time(),
            chance=random.random(),  # noqa: S311 - not a secret
        )
        if isinstance(settlement, Defer):
            log.warning(
                "%s: attempt %d of message %s failed, next in %s: %s",
                self,
                settlement.attempts,
                shown(held.delivery.message.id),
                duration(settlement.after),
                one_line(error),
            )
        return settlement

    def _is_torn_down(self, error: BaseException) -> bool:
        """Whether all tasks were cancelled at once, ours among them: the program ends without having stopped this."""
        return isinstance(error, asyncio.CancelledError) and self._tasks[0].cancelling() > 0

    def _ended(self, run: Run, errors: Mapping[Held, BaseException]) -> None:
        self._running.discard(run)
        self._slots.taken -= 1
        handled: list[Held] = []
        for held in run.helds:
            held.run = None
            if held in errors:
                self._decide(held, self._judge(run, held, errors[held]))
            elif held.lost or held.lane is not None:
                self._decide(held, ACK)
            else:
                handled.append(held)
        if handled:
            self._settler.acknowledge(handled)
        if self._stopping:
            self._give_back_unstarted()
        self._slots.offer()

    def _decide(self, held: Held, settlement: Settlement) -> None:
        key = held.lane
        if held.lost:
            held.outcome = settlement
            self._on_results([(held, LOST)])
        elif isinstance(settlement, Defer) and key is not None and not settlement.relaxed:
            self._hold_key(held, key, settlement)
        else:
            self._settler.add(held, settlement)
        if key is not None and (held.lost or isinstance(settlement, Release)):
            self._give_back_lane(key)  # whoever gets it next handles it before what is behind it
        elif not isinstance(settlement, Defer) or settlement.relaxed or key is None:
            self._lanes.done(key)

    def _hold_key(self, held: Held, key: str, settlement: Defer) -> None:
        """An ordered key waits for its failed message.

        Where the broker keeps the key's later messages back, ours are released behind the failed one and the lane
        stays closed until the broker has taken that; elsewhere the lane waits here, lease renewed.
        """
        if self._broker_holds(settlement.after):
            self._settler.add(held, settlement)
            for follower in self._lanes.waiting(key):
                self._give_back(follower)
            return
        self._tell(Handled(delivery=held.delivery, settlement=settlement, result=DONE))
        message = msgspec.structs.replace(held.delivery.message, first_failure=settlement.first_failure)
        held.delivery = msgspec.structs.replace(
            held.delivery,
            attempt=settlement.attempts + 1,
            message=message,
            _value=msgspec.UNSET,  # what the failed handler did to the value is not seen by the next
        )
        held.tried = True
        held.ordinals = None
        self._loop.call_later(settlement.after, self._resume_key, held)
        self._check_room()  # its handler is free, although nothing was settled

    def _broker_holds(self, after: float) -> bool:
        from_, longest = self._can.holds_key_from, self._can.longest_defer
        if from_ is None or Defer not in self._adapter.native_settlements:
            return False
        return from_ <= after and (longest is None or after <= longest)

    def _resume_key(self, held: Held) -> None:
        if held in self._window.held and held.outcome is None and not held.lost and not self._stopping:
            self._lanes.again(held.lane, held)
            self._dispatch()

    def _released(self, held: Held) -> Release:
        return Release(held.delivery.attempt - 1) if held.tried else RELEASE

    def _give_back(self, held: Held) -> None:
        self._settler.add(held, self._released(held))

    def _give_back_lane(self, key: str) -> None:
        for follower in self._lanes.clear(key):
            self._give_back(follower)

    def _give_back_unstarted(self) -> None:
        """All that has not started, except what waits behind a handler that runs: it is given back after its head."""
        busy = {held.lane for run in self._running for held in run.helds} - {None}
        for held in list(self._window.held):
            if held.run is None and held.outcome is None and held.lane not in busy:
                for item in self._evict(held):
                    self._give_back(item)

    def _evict(self, held: Held) -> list[Held]:
        """Take a delivery that has not started, and all that cannot start without it, out of the lanes, in order."""
        evicted = self._lanes.evict(held.lane, held)
        if evicted or held.lane is None:
            return evicted or [held]
        return [held, *self._lanes.clear(held.lane)]  # it waited in place, the others behind it

    # ---------------------------------------------------------------- settling

    def _on_results(self, results: Sequence[tuple[Held, SettleResult]]) -> None:
        silent = self._can.acks_surely and not self._observers
        for held, result in results:
            self._window.remove(held)
            if not (silent and held.outcome is ACK and result is DONE):
                self._settled(held, result)
        self._check_room()

    def _settled(self, held: Held, result: SettleResult) -> None:
        settlement = held.outcome
        assert settlement is not None  # noqa: S101 - nothing is settled without an outcome
        lost = isinstance(result, Lost)
        if lost:
            held.lost = True
        if held.skipped:
            return
        if isinstance(settlement, Ack) and (lost or not self._can.acks_surely):
            self._remember(held)
            if lost:
                log.warning(
                    "%s: message %s was handled, but its lease was lost before the acknowledgement: it may be handled again",
                    self,
                    shown(held.delivery.message.id),
                )
        if isinstance(settlement, DeadLetter) and not lost:
            message, why = shown(held.delivery.message.id), settlement.record
            log.warning(
                "%s: message %s is a dead letter: %s: %s (waybill dlq show %s)",
                self,
                message,
                why.reason,
                shown(why.detail or why.error or "", 200),
                message,
            )
        if isinstance(settlement, Defer) and held.lane is not None and not settlement.relaxed:
            self._give_back_lane(held.lane)  # those that arrived while the broker was taking the retry
        self._tell(Handled(delivery=held.delivery, settlement=settlement, result=result))

    def _tell(self, handled: Handled) -> None:
        for observe in self._observers:
            try:
                observe(handled)
            except Exception:
                log.exception("%s: an observer failed", self)

    def _check_room(self) -> None:
        if not self._room.is_set() and self._wanted():
            self._room.set()

    def _remember(self, held: Held) -> None:
        self._unacknowledged[_identity(held.delivery.message, held.handed)] = None
        if len(self._unacknowledged) > MEMORY:
            self._unacknowledged.popitem(last=False)

    def _stuck(self, cause: str | None) -> None:
        self._trouble(None if cause is None else f"settlements wait: {cause}")
        if cause is None:
            self._dispatch()
            self._room.set()

    def _trouble(self, cause: str | None) -> None:
        if cause is not None and cause != self.trouble:
            log.warning("%s: %s", self, cause)
        self.trouble = cause

    # ---------------------------------------------------------------- leases and timeouts

    async def extend(self, delivery: Delivery[Any], more: float) -> None:
        """Serves `Delivery.extend`."""
        held = self.find(delivery)
        if held is None or held.run is None:
            raise LeaseLost("the handler has ended; there is nothing to extend")
        held.run.deadline = time.monotonic() + more
        await self._leases.renew([held])
        if held.lost:
            raise LeaseLost(f"message {delivery.message.id} is no longer leased to this process")

    def find(self, delivery: Delivery[Any]) -> Held | None:
        """What is known about a delivery that a handler runs on now."""
        token = delivery.token
        return next((held for run in self._running for held in run.helds if held.delivery.token == token), None)

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
            for item in self._evict(held):
                if item is not held:
                    self._give_back(item)
            self._window.remove(held)
            self._dispatch()
            self._check_room()

    async def _sweep(self) -> None:
        timeout = self.options.timeout
        if timeout is None:
            return
        pause = min(1.0, max(0.02, timeout / 20))
        while True:
            await asyncio.sleep(pause)
            now = time.monotonic()
            hung = 0
            for run in list(self._running):
                if run.deadline < now and run.cause is None:
                    run.cancel("timeout")
                elif run.cause == "timeout" and run.deadline + max(HUNG, timeout) < now:
                    hung += 1
            if hung > self.hung:
                log.error(
                    "%s: %d handlers do not end though their time is over: this process should be replaced", self, hung
                )
            self.hung = hung

    def __str__(self) -> str:
        return self.subscription.name


def _by_item(helds: Sequence[Held], error: BaseException) -> dict[Held, BaseException]:
    """The error of each delivery of a batch that failed, from what the handler raised."""
    if isinstance(error, ItemsFailed) and all(place in range(len(helds)) for place in error.failures):
        return {helds[place]: failure for place, failure in error.failures.items()}
    return dict.fromkeys(helds, error)


def _identity(message: Message, attempt: int) -> tuple[str, int, int]:
    return message.id, attempt, message.redrives
