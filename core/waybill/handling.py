"""The handlings of one consumer: started while there are slots, run, judged however they end, and ended in time.

A handling is one call of the handler, on one delivery or on a batch. It is a task of its own, so that context variables
a handler sets end with it and cancelling one touches no other. Each ends in `_ended`, once, and what becomes of its
deliveries is decided there. Timeouts are watched by one sweep for all handlings instead of a timer each.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from asyncio import Task
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import ContextVar, copy_context
from functools import partial
from math import inf
from traceback import clear_frames
from types import MappingProxyType
from typing import Any

import msgspec

from waybill.classifying import Kind
from waybill.clock import Clock
from waybill.codec import Lacking
from waybill.decoding import Decoding
from waybill.errors import CodecUnavailable, HandlerTimeout, ItemsFailed, one_line, parts_of, shown
from waybill.gates.breaker import CircuitBreaker
from waybill.gates.budget import Spending
from waybill.gates.gate import Failure, Gate
from waybill.holding import Held, Run, Slots
from waybill.judging import failed, interrupted, kind_of
from waybill.message import Delivery
from waybill.middleware import BatchHandler, Handler
from waybill.observing import about
from waybill.options import ConsumerOptions
from waybill.outcomes import ACK, Defer, Release, Settlement
from waybill.redaction import redact, secrets_of
from waybill.retry import duration
from waybill.settling import Settler
from waybill.waiting import Waiting

__all__ = ["Handlings", "current_batch", "current_handling"]

log = logging.getLogger("waybill.handling")

HUNG = 5.0
"""Seconds at least that a handler is given to end once it was cancelled, …"""
LONG = 60.0
"""… and where it has no timeout: it was cancelled since its lease is lost, and a call in a thread goes on until it is done."""

NO_ERRORS: Mapping[Held, BaseException] = MappingProxyType({})
NO_FAILURES: Mapping[Held, Failure] = MappingProxyType({})

current_handling: ContextVar[Held | None] = ContextVar("waybill_handling", default=None)
"""What the running handler is about: what it publishes takes its ids and its story from here."""
current_batch: ContextVar[Sequence[Held]] = ContextVar("waybill_batch", default=())
"""All that the running handler is about, where that is a batch: what is logged of it must not quote what is secret in it."""


class Handlings:
    """Calls one consumer's handler for what waits, and settles what has ended."""

    def __init__(
        self,
        handler: Handler | BatchHandler,
        options: ConsumerOptions,
        *,
        waiting: Waiting,
        settler: Settler,
        slots: Slots,
        clock: Clock,
        on_retry: Callable[[Held, Defer], None],
        on_unavailable: Callable[[Lacking, CodecUnavailable], None] | None,
        torn_down: Callable[[], bool],
        name: str,
        gates: Sequence[Gate] = (),
        spending: Spending | None = None,
        marked: Collection[str] = (),
    ) -> None:
        """Handlers run in copies of the context this is made in. `name`: the subscription's. `spending`: of its retry budget.
        `marked`: names of headers and fields that are secret, in lower case.

        `on_unavailable`: called when what decoding lacks cannot be had now; `None`: it never lacks anything.

        `on_retry`: called when a handling has ended and nothing is settled, since its delivery waits here for its retry.
        `torn_down`: whether all tasks of the program were cancelled at once.
        """
        self._handler: Any = handler
        self._options = options
        self._waiting = waiting
        self._settler = settler
        self._slots = slots
        self._clock = clock
        self._on_retry = on_retry
        self._decoding = Decoding(options.timeout, on_unavailable)
        self._torn_down = torn_down
        self._name = name
        self._gates = gates
        self._marked = marked
        self._breakers = [gate for gate in gates if isinstance(gate, CircuitBreaker)] if options.batch else []
        """Those that may ask for a batch of one."""
        self._spending = spending
        self._running: set[Run] = set()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self.paused = False
        """Start none meanwhile; those that run go on."""
        self.standing = False
        """The same, for as long as what decoding lacks cannot be had."""
        self.hung = 0
        """How many were cancelled and run on long after: they ignore it, or are stuck in a thread."""

    @property
    def running(self) -> int:
        """How many run now."""
        return len(self._running)

    def find(self, delivery: Delivery[Any]) -> Held | None:
        """What is known about a delivery that a handler runs on now."""
        token = delivery.token
        return next((held for run in self._running for held in run.helds if held.delivery.token == token), None)

    # ---------------------------------------------------------------- start and run

    def dispatch(self) -> None:
        """Start what may start."""
        if self._settler.stuck or self.paused or self.standing or self._closed:
            return
        timeout = self._options.timeout
        now = time.monotonic()
        deadline = inf if timeout is None else now + timeout
        gates = self._gates
        while self._slots.free and (not gates or self._may_start(now)):
            alone = bool(self._breakers) and any(breaker.probing for breaker in self._breakers)
            helds = self._waiting.next(now, alone=alone)
            if not helds:
                break
            run = Run(helds, deadline, began=now)
            for gate in gates:
                gate.start(now)
            for held in helds:
                held.run = run
            self._slots.taken += 1
            self._running.add(run)
            # a context of its own: this may run in the task of the handler before
            context = self._context.copy()
            handling = self._handle(run, helds[0]) if self._options.batch is None else self._handle_batch(run)
            run.task = self._loop.create_task(handling, name="waybill-handler", context=context)

    def _may_start(self, now: float) -> bool:
        for gate in self._gates:  # noqa: SIM110 - asked twice a message: a generator would cost more than the gates
            if not gate.free(now):
                return False
        return True

    async def _handle(self, run: Run, held: Held) -> None:
        current_handling.set(held)
        try:
            run.begin()
            if self._decoding.remote:
                await self._decoding.one(run, held)
            await self._handler(held.delivery)
        except BaseException as error:
            if isinstance(error, MemoryError):  # before anything else: what the handler heaped up leaves no room for it
                clear_frames(error.__traceback__)
            if self._is_thrown_away(error):
                raise
            self._ended(run, {held: error})
            if interrupted(error):
                raise
        else:
            self._ended(run, NO_ERRORS)

    async def _handle_batch(self, run: Run) -> None:
        errors: dict[Held, BaseException] = {}
        sound = run.helds
        failure: BaseException | None = None
        current_batch.set(run.helds)
        try:
            run.begin()
            errors = await self._decoding.all(run)
            sound = [held for held in run.helds if held not in errors] if errors else run.helds
            current_handling.set(sound[0] if len(sound) == 1 else None)
            if sound:
                await self._handler([held.delivery for held in sound])
        except BaseException as error:
            if isinstance(error, MemoryError):
                clear_frames(error.__traceback__)
            if self._is_thrown_away(error):
                raise
            failure = error
            errors |= _by_item(sound, error)
        self._ended(run, errors)
        if failure is not None and interrupted(failure):
            raise failure

    def _is_thrown_away(self, error: BaseException) -> bool:
        """Whether nobody runs this any more, and the interpreter clears up."""
        return isinstance(error, GeneratorExit) and not self._loop.is_running()

    # ---------------------------------------------------------------- judge and end

    def _ended(self, run: Run, errors: Mapping[Held, BaseException]) -> None:
        self._running.discard(run)
        self._slots.taken -= 1
        failures = self._failures(run, errors) if self._gates else NO_FAILURES
        for gate in self._gates:
            gate.gone()
        handled: list[Held] = []
        for held in run.helds:
            held.run = None
            if held in errors:
                self._failed(run, held, errors[held], failures.get(held))
            elif held.lost:
                self._decide(held, ACK)
            else:
                handled.append(held)
        if handled:
            self._settler.acknowledge(handled)
        for held in handled:
            if held.lane is not None:
                self._waiting.done(held.lane)
        if self._closed:
            self._waiting.give_back_all()
        self._slots.offer()

    def _failed(self, run: Run, held: Held, error: BaseException, failure: Failure | None) -> None:
        """Decide about one that failed. Whatever breaks here, it is settled: it would be held until a restart otherwise."""
        try:
            if failure is not None and not held.lost and self._is_forgiven(failure, run.began):
                self._keep(held, failure)
            else:
                self._decide(held, self._judge(run, held, error, None if failure is None else failure.kind))
        except Exception as second:  # noqa: BLE001 - of what looks at the error or makes a record of it; said without its context
            message, said = shown(held.delivery.message.id), self._said(held, second)
            log.error("%s: message %s is given back: %s", self._name, message, said, extra=about(held.delivery))  # noqa: TRY400
            if held.outcome is None:
                self._decide(held, held.released)

    def _failures(self, run: Run, errors: Mapping[Held, BaseException]) -> Mapping[Held, Failure]:
        """The failures that say something, by their delivery. The gates are told of them."""
        try:
            return self._tell_gates(run, errors)
        except Exception as error:  # noqa: BLE001 - said without its text, which may quote a message
            log.error("%s: a gate cannot be told of a handling: %s", self._name, one_line(error, lambda _: ""))  # noqa: TRY400
            self._tell(run, None)
            return NO_FAILURES

    def _tell_gates(self, run: Run, errors: Mapping[Held, BaseException]) -> Mapping[Held, Failure]:
        found = NO_FAILURES
        told: Sequence[Failure] | None = ()
        if errors:
            cut = any(self._is_cut_short(run, error) for error in errors.values())
            found = {} if cut else {held: self._failure(run, held, error) for held, error in errors.items()}
            told = None if cut else tuple(found.values())
        self._tell(run, told)
        return found

    def _tell(self, run: Run, failures: Sequence[Failure] | None) -> None:
        """Once for each handling."""
        if run.told:
            return
        run.told = True
        now, number = time.monotonic(), len(run.helds)
        for gate in self._gates:
            gate.end(now, now - run.began, failures, number)

    def _failure(self, run: Run, held: Held, error: BaseException) -> Failure:
        if isinstance(error, asyncio.CancelledError) and run.cause == "timeout":
            error = HandlerTimeout(f"the handler ran longer than {self._options.timeout:g} s")
        try:
            parts = [Failure(part, kind_of(part, self._options)) for part in parts_of(error)]
            return Failure(error, kind_of(error, self._options), held.forgiven, parts)
        except Exception:  # a function of the user's, in a table of errors
            log.exception("%s: its table of errors cannot be asked", self._name)
            return Failure(error, "transient", held.forgiven)

    def _is_forgiven(self, failure: Failure, began: float) -> bool:
        return any(gate.forgives(failure, began) for gate in self._gates)

    def _keep(self, held: Held, failure: Failure) -> None:
        message = shown(held.delivery.message.id)
        said = self._said(held, failure.error)
        log.info("%s: message %s waits here, at no cost: %s", self._name, message, said, extra=about(held.delivery))
        self._waiting.keep(held)

    def _is_cut_short(self, run: Run, error: BaseException) -> bool:
        """Whether it is not the message's fault, whatever the handler made of being cancelled."""
        # torn down: the program ends, and did not stop us
        torn_down = isinstance(error, asyncio.CancelledError) and self._torn_down()
        return run.cause in {"shutdown", "lease", "codec"} or interrupted(error) or torn_down

    def _judge(self, run: Run, held: Held, error: BaseException, kind: Kind | None) -> Settlement:
        if self._is_cut_short(run, error):
            return held.released
        settlement = failed(
            held.delivery,
            error,
            self._options,
            timed_out=run.cause == "timeout",
            now=self._clock.time(),
            chance=random.random(),  # noqa: S311 - not a secret
            kind=kind,
        )
        if isinstance(settlement, Defer):
            if self._spending is not None:
                settlement = self._afforded(held, settlement, self._spending)
            self._warn_of_retry(held, settlement, error)
        return settlement

    def _afforded(self, held: Held, settlement: Defer, spending: Spending) -> Defer:
        """Later, if the retry budget is spent."""
        after = spending.later(held.delivery, settlement.first_failure, time.monotonic())
        return msgspec.structs.replace(settlement, after=max(settlement.after, after))

    def _warn_of_retry(self, held: Held, settlement: Defer, error: BaseException) -> None:
        log.warning(
            "%s: attempt %d of message %s failed, next in %s: %s",
            self._name,
            settlement.attempts,
            shown(held.delivery.message.id),
            duration(settlement.after),
            self._said(held, error),
            extra=about(held.delivery),
        )

    def _said(self, held: Held, error: BaseException) -> str:
        """The error on one line, without what the message holds under secret names."""
        return one_line(error, partial(redact, values=secrets_of(held.delivery.message, self._marked)))

    def _decide(self, held: Held, settlement: Settlement) -> None:
        key = held.lane
        if held.lost:
            self._settler.lose(held, settlement)
        elif isinstance(settlement, Defer) and key is not None and not settlement.relaxed:
            self._hold_key(held, key, settlement)
        elif isinstance(settlement, Release):
            self._waiting.release(held)
        else:
            self._settler.add(held, settlement)
        if key is not None and (held.lost or isinstance(settlement, Release)):
            self._waiting.give_back_lane(key)
        elif not isinstance(settlement, Defer) or settlement.relaxed or key is None:
            self._waiting.done(key)

    def _hold_key(self, held: Held, key: str, settlement: Defer) -> None:
        """An ordered key waits for its failed message.

        Where the broker keeps the key's later messages back, ours are released behind the failed one and the lane
        stays closed until the broker has taken that; elsewhere the lane waits here, lease renewed.
        """
        if self._settler.holds_key(settlement.after):
            self._settler.add(held, settlement)
            self._waiting.give_back_followers(key)
        else:
            self._on_retry(held, settlement)
            self._waiting.retry(held, settlement)

    # ---------------------------------------------------------------- in time

    async def sweep(self) -> None:
        """Cancel what runs longer than `timeout`, and see to what ignores being cancelled. Never returns."""
        timeout = self._options.timeout
        pause = 1.0 if timeout is None else min(1.0, max(0.02, timeout / 20))
        patience = max(HUNG, LONG if timeout is None else timeout)
        while True:
            await asyncio.sleep(pause)
            now = time.monotonic()
            hung = 0
            for run in list(self._running):
                if run.deadline < now and run.cause is None:
                    run.cancel("timeout")
                elif run.cancelled < now:
                    if not run.told:
                        # Or nobody would hear of a call that never ends, and a probe would be one for ever.
                        self._failures(run, dict.fromkeys(run.helds, asyncio.CancelledError()))
                    hung += run.cancelled + patience < now
            if hung > self.hung:
                log.error(
                    "%s: %d handlers do not end though their time is over: this process should be replaced",
                    self._name,
                    hung,
                )
            self.hung = hung

    def close(self) -> None:
        """Start none any more, and give back what a handling that ends leaves behind it."""
        self._closed = True

    async def finish(self, end: float) -> None:
        """Let those that run do so until `end`, on the loop's clock; then cancel them, and give them a second."""
        if running := self._tasks():
            await asyncio.wait(running, timeout=max(0.0, end - self._loop.time()))
        self.cancel()
        if running := self._tasks():
            _, stuck = await asyncio.wait(running, timeout=1.0)
            for _ in stuck:
                log.error(
                    "%s: a handler does not end though cancelled; its message will be handed out again", self._name
                )

    def cancel(self) -> None:
        """Cancel all, for a shutdown: what they handle is given back."""
        for run in list(self._running):
            run.cancel("shutdown")

    def _tasks(self) -> list[Task[None]]:
        return [run.task for run in self._running if run.task is not None]


def _by_item(helds: Sequence[Held], error: BaseException) -> dict[Held, BaseException]:
    """The error of each delivery of a batch that failed, from what the handler raised."""
    failures: Mapping[Any, Any] | None = getattr(error, "failures", None) if isinstance(error, ItemsFailed) else None
    if not isinstance(failures, Mapping):
        return dict.fromkeys(helds, error)
    found: dict[Held, BaseException] = {}
    for place, failure in failures.items():  # whatever has become of them since it was made
        if not (isinstance(place, int) and 0 <= place < len(helds) and isinstance(failure, BaseException)):
            return dict.fromkeys(helds, error)
        found[helds[place]] = failure
    return found
