"""The circuit breaker: while what a handler depends on fails, nothing is fetched, nothing given up, and no attempt is spent.

`Circuit` decides (pure); this one keeps the time, tells its consumers when more may start, and says how it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import inf
from types import MappingProxyType

import msgspec

from waybill.asked import retry_after
from waybill.errors import ConfigurationError
from waybill.gates.circuit import Circuit, Rules, State
from waybill.gates.counting import Counts, counting, verdict
from waybill.gates.gate import Failure
from waybill.retry import duration, seconds

__all__ = ["CircuitBreaker", "CircuitReport"]

log = logging.getLogger("waybill.breaker")

LONGEST_PAUSE = 3600.0
"""Seconds: for how long a dependency can ask at most to be left alone."""


class CircuitReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a breaker is at one moment."""

    name: str
    state: State
    reason: str | None
    """Why it is not closed, for people; of an open one also when it probes next."""
    since: datetime | None
    """When it came to this state (UTC); `None`: it was never in another one."""
    opened: datetime | None
    """When it opened, if it has not closed since."""
    next_probe: float | None
    """Seconds until an open one lets a probe through."""
    failure_rate: float
    """The share of the last `calls` handlings that have failed in the time of `window`."""
    slow_rate: float
    """The same of those that were slow."""
    failed_probes: int
    """How many have failed in a row."""
    transitions: Mapping[State, int]
    """How many times it came to each state."""
    subscriptions: int
    """How many consumers ask it."""


class CircuitBreaker:
    """Something that handlers call and that may fail, e.g. a database or another service. See `Gate` for what consumers ask.

    Subscriptions that name the same object share it: `app.consume(…, breaker=bank)`. While it is open, they fetch nothing
    and start no handler; what they hold they keep, leases renewed; running handlers finish. A failure that counts costs
    no attempt if the breaker is open then: the message stays where it is. When it has waited, one message goes through as
    a probe; if that fails it costs nothing either, and the next probe is another message, if there is one.

    One object serves one event loop; all its methods are called there. What it has learned is forgotten when no subscription
    uses it any more, what was done by hand is not.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: float = 0.5,
        calls: int = 20,
        window: float | timedelta | None = 10.0,
        slow: float | timedelta | None = None,
        slow_share: float = 0.5,
        open_for: float | timedelta = 5.0,
        cap: float | timedelta = 30.0,
        probes: int = 1,
        counts: Counts | None = None,
    ) -> None:
        """Durations are seconds or timedeltas.

        failures, calls, window: it opens when `failures * calls` of the last `calls` handlings have failed, and none of
        these longer ago than `window` (`None`: however long). With less than a message a second, give a few calls and a
        long window.
        slow, slow_share: so too when `slow_share * calls` of them took longer than `slow`, whether they failed or not.
        open_for, cap: how long it stays open before it probes; twice as long after each probe that fails, up to `cap`. An
        exception that says so itself (`retry_after`, or the header `Retry-After` of its response) keeps it open at least
        as long as it asks for, but no longer than an hour.
        probes: so many handlings must pass, at once or one after the other, until it closes.
        counts: which exceptions are failures of the dependency: classes, or a function that says so. Default: those that
        are transient or systemic (`consume(errors=…)`). A handler's timeout is a `HandlerTimeout`. `Reject`, `RetryAfter`
        and what cannot be decoded never count; of a group of exceptions, any.

        Raises `ConfigurationError`.
        """
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ConfigurationError(f"CircuitBreaker({name!r}): name the dependency, e.g. CircuitBreaker('bank')")
        self.name = name
        self.rules = Rules(
            failures=failures,
            calls=calls,
            window=window,
            slow=slow,
            slow_share=slow_share,
            open_for=open_for,
            cap=cap,
            probes=probes,
        )
        self._slow = inf if slow is None else seconds(slow, "slow")
        self._counts = counting(counts)
        self._circuit = Circuit(self.rules)
        self._members: deque[Callable[[], None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._why: str | None = None
        self._opened = -inf

    # ---------------------------------------------------------------- for people

    @property
    def state(self) -> State:
        """`closed`, `open`, `half-open`; by hand, until `auto`: `forced-open`, `forced-closed`."""
        return self._circuit.state

    def open(self, reason: str = "by hand") -> None:
        """Let nothing through until `close` or `auto`, and probe nothing. `reason`: for those who wonder."""
        self._why = reason
        self._moved(changed=self._circuit.force(time.monotonic(), "forced-open"))

    def close(self) -> None:
        """Let everything through until `open` or `auto`, whatever fails."""
        self._why = None
        self._moved(changed=self._circuit.force(time.monotonic(), "forced-closed"))

    def auto(self) -> None:
        """Let it decide by itself again. One that was open by hand probes first."""
        self._moved(changed=self._circuit.auto(time.monotonic()))

    def describe(self) -> CircuitReport:
        """How it is now. Costs next to nothing."""
        circuit, now = self._circuit, time.monotonic()
        return CircuitReport(
            name=self.name,
            state=circuit.state,
            reason=self.shut,
            since=_at(circuit.changed, now),
            opened=None if circuit.lets_through else _at(self._opened, now),
            next_probe=round(max(0.0, circuit.until - now), 3) if circuit.state == "open" else None,
            failure_rate=round(circuit.failing.found(circuit.calls, now) / (circuit.seen or 1), 3),
            slow_rate=round(circuit.slowing.found(circuit.calls, now) / (circuit.seen or 1), 3),
            failed_probes=circuit.in_vain,
            transitions=MappingProxyType(dict(circuit.moves)),
            subscriptions=len(self._members),
        )

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.name!r}: {self.state})"

    # ---------------------------------------------------------------- a gate

    def join(self, on_open: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop:
            if self._loop.is_running():
                raise ConfigurationError(
                    f"CircuitBreaker({self.name!r}) is used in another event loop: one object serves one"
                )
            self._members.clear()  # that loop was thrown away, and a probe that ran there
            self._left()
        self._loop = loop
        self._members.append(on_open)
        self._arm()

    def leave(self, on_open: Callable[[], None]) -> None:
        if on_open not in self._members:
            return
        self._members.remove(on_open)
        if not self._members:
            self._left()

    def _left(self) -> None:
        """Nobody uses it any more."""
        self._loop = None
        self._moved(changed=self._circuit.leave(time.monotonic()))

    def wanted(self, number: int, waiting: int) -> int:
        if self._circuit.lets_through:
            return number
        # Also while a probe is under way, so that the next one is another message.
        return 1 if self.probing and not waiting else 0

    def free(self, now: float) -> bool:
        del now
        return self._circuit.lets_through or self._circuit.room > 0

    def start(self, now: float) -> None:
        del now
        self._circuit.start()

    @property
    def probing(self) -> bool:
        """Whether what starts now is a probe, and had better be one message."""
        return self._circuit.state == "half-open"

    def end(self, now: float, took: float, failures: Sequence[Failure] | None, number: int) -> None:
        began, circuit = now - took, self._circuit
        if failures is not None and not failures and circuit.lets_through and took <= self._slow:
            circuit.calls += began >= circuit.changed  # as nearly always
            return
        counted = [failure.error for failure in failures if self._counts(failure)] if failures else ()
        failed = None if failures is None else verdict(len(failures), len(counted), number, self.rules.failures)
        pause = max((retry_after(error, time.time()) or 0.0 for error in counted), default=0.0)
        if circuit.end(now, began, failed=failed, slow=took > self._slow, pause=min(pause, LONGEST_PAUSE)):
            if circuit.state == "open":
                self._why = self._found(now, counted)
            self._moved(changed=True)
        elif circuit.room:
            self._offer()

    def gone(self) -> None:
        pass

    def forgives(self, failure: Failure, began: float) -> bool:
        circuit = self._circuit
        if circuit.lets_through:
            return circuit.is_late(began) and self._counts(failure)
        # Whoever was forgiven in the outage before, and fails in calm weather again, may be what is wrong.
        return not (failure.again and not circuit.is_probe(began)) and self._counts(failure)

    @property
    def shut(self) -> str | None:
        circuit = self._circuit
        if circuit.lets_through:
            return None
        what = f"the circuit {self.name!r} is {circuit.state}"
        if circuit.state == "open":
            left = duration(max(0.0, circuit.until - time.monotonic()))
            return f"{what}: {self._why}; it is probed in {left}"
        return f"{what}: {self._why}" if self._why else what

    # ---------------------------------------------------------------- moving

    def _found(self, now: float, counted: Sequence[BaseException]) -> str:
        """Why it opens. Names classes only: what an exception says may be secret."""
        circuit = self._circuit
        kinds = ", ".join(dict.fromkeys(type(error).__qualname__ for error in counted))
        if circuit.in_vain:
            return f"{circuit.in_vain} probes failed ({kinds or 'slow'})"
        if counted:
            return f"{circuit.failing.found(circuit.calls, now)} of {circuit.seen} handlings failed ({kinds})"
        return f"{circuit.slowing.found(circuit.calls, now)} of {circuit.seen} handlings took longer than {duration(self._slow)}"

    def _moved(self, *, changed: bool) -> None:
        if not changed:
            return
        state = self._circuit.state
        if self._circuit.lets_through:
            self._opened, self._why = -inf, None
        elif self._opened == -inf:
            self._opened = self._circuit.changed
        level = logging.WARNING if state in {"open", "forced-open"} else logging.INFO
        log.log(level, "%s", self.shut or f"the circuit {self.name!r} is {state}")
        self._arm()
        self._offer()

    def _arm(self) -> None:
        """See to it that an open one probes in time."""
        self._disarm()
        if self._circuit.state == "open" and self._loop is not None:
            left = max(0.0, self._circuit.until - time.monotonic())
            self._timer = self._loop.call_later(left, self._waited)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _waited(self) -> None:
        self._timer = None
        if self._circuit.tick(time.monotonic()):
            self._moved(changed=True)
        else:  # the loop's clock may be coarser than ours
            self._arm()

    def _offer(self) -> None:
        """Let the members start what they may, soon; each time another one is the first, so that each one's messages probe."""
        if self._loop is not None and (self._circuit.lets_through or self._circuit.room):
            self._loop.call_soon(self._offer_now)

    def _offer_now(self) -> None:
        self._members.rotate(-1)
        for start in tuple(self._members):
            start()


def _at(then: float, now: float) -> datetime | None:
    return None if then == -inf else datetime.now(UTC) - timedelta(seconds=now - then)
