"""What may go wrong between the broker and a service, armed by a test; `source.py` and `broker.py` make it happen.

Each fault is one that every broker may show: nothing that was confirmed is lost, and the order of keys is kept where a
topic is consumed ordered. What is due later is so by the test's clock. A fault hits what comes after it was armed, the
first that fits, and several of them one after the other in the order they were armed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypedDict, TypeVar, Unpack

from waybill.errors import BrokerUnavailable, ConfigurationError, DecodeError
from waybill.message import Delivery, Message
from waybill.retry import seconds
from waybill.topic import Topic
from waybill.topology import Subscription

if TYPE_CHECKING:
    from waybill.testing.source import FaultySource
    from waybill.testing.story import Story

__all__ = ["Fault", "Faults"]

T = TypeVar("T")
Moment: TypeAlias = Literal["send", "receive", "start", "settle"]

AWAY = "the broker is away, as the test wants it"


class Which(TypedDict, Generic[T], total=False):
    """What a fault hits."""

    times: int
    """How often it happens; once, unless given."""
    only: Callable[[T], bool]
    """Given a value: whether it may be hit."""
    required: bool
    """`False`: the test does not fail when it did not happen as often as `times` says."""


class Deliveries(Which[T], Generic[T], total=False):
    """What a fault of delivering hits."""

    group: str
    """Whose deliveries; needed where several groups of the application consume the topic."""


@dataclass(eq=False, kw_only=True, slots=True)
class Fault:
    """A fault that was armed. `fired` is how often it has happened."""

    kind: str
    place: str
    """A topic, or `topic/group`."""
    times: int = 1
    required: bool = True
    fired: int = 0
    moment: Moment
    fits: Callable[[Message], bool]
    delay: float = 0.0
    """Seconds, where it makes something late."""
    stored: bool = False
    once: bool = False
    """Whether what it has hit is the same when it comes again, and so not hit again."""
    _taken: int = 0
    _hit: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        if isinstance(self.times, bool) or not isinstance(self.times, int) or self.times < 1:
            raise ConfigurationError(f"{self.kind}(…, times={self.times!r}): at least once")

    def __str__(self) -> str:
        return f"{self.kind}({self.place}) happened {self.fired} of {self.times} times"

    def takes(self, message: Message) -> bool:
        """Whether it hits this message; then it has one time less."""
        if self._taken == self.times or (self.once and message.id in self._hit) or not self.fits(message):
            return False
        self._taken += 1
        self._hit.add(message.id)
        return True

    def give_back(self, message: Message) -> None:
        """It cannot hit this message now, and may when it comes again."""
        self._taken -= 1
        self._hit.discard(message.id)


class Faults:
    """Arms faults. Every call returns its `Fault`; one that did not happen by the end of the test fails it."""

    def __init__(self, subscriptions: Sequence[Subscription], story: Story) -> None:
        self._subscriptions = {subscription.name: subscription for subscription in subscriptions}
        self._story = story
        self._armed: list[Fault] = []
        self.sources: dict[str, FaultySource] = {}
        self.is_away = False
        self.broken: Exception | None = None
        """What a test's own `only` raised."""

    # ---------------------------------------------------------------- from the broker to the service

    def drop(self, topic: Topic[T], **which: Unpack[Deliveries[T]]) -> Fault:
        """A delivery is lost on its way: the message comes again when its lease has run out."""
        return self._delivering("drop", "receive", topic, **which)

    def duplicate(self, topic: Topic[T], **which: Unpack[Deliveries[T]]) -> Fault:
        """A message is delivered once more, under the same id. The second may start before the first has ended."""
        return self._delivering("duplicate", "receive", topic, once=True, **which)

    def delay(self, topic: Topic[T], duration: float | timedelta, **which: Unpack[Deliveries[T]]) -> Fault:
        """A delivery takes so long (seconds or timedelta); later ones pass it."""
        delay = seconds(duration, "duration")
        return self._delivering("delay", "receive", topic, once=True, delay=delay, **which)

    def reorder(self, topic: Topic[T], **which: Unpack[Deliveries[T]]) -> Fault:
        """A delivery and the one behind it change places; what is behind them comes after that.

        Not where the topic is consumed ordered: there no broker does that.
        """
        fault = self._delivering("reorder", "receive", topic, once=True, **which)
        if self._subscriptions[fault.place].ordered:
            self._armed.remove(fault)
            raise ConfigurationError(
                f"reorder({topic.name}): {fault.place} is consumed ordered, which every broker keeps"
            )
        return fault

    def lose_lease(self, topic: Topic[T], **which: Unpack[Deliveries[T]]) -> Fault:
        """The lease is lost while the handler runs: it is cancelled at its first `await`, and the message comes again.

        Again when the handler has ended. What it finished all the same is not handled again, as in production.
        """
        return self._delivering("lose_lease", "start", topic, **which)

    def crash_at_settle(self, topic: Topic[T], **which: Unpack[Deliveries[T]]) -> Fault:
        """The handler returned, and the process died before the broker knew: the message comes again."""
        return self._delivering("crash_at_settle", "settle", topic, **which)

    # ---------------------------------------------------------------- from the service to the broker

    def refuse(self, topic: Topic[T], **which: Unpack[Which[T]]) -> Fault:
        """A publish raises `PublishRefused`, whoever publishes: the message is not stored."""
        return self._sending("refuse", topic, **which)

    def unknown(self, topic: Topic[T], *, stored: bool = True, **which: Unpack[Which[T]]) -> Fault:
        """A publish raises `PublishUnknown`: the message is `stored` or it is not, but the answer never came."""
        return self._sending("unknown", topic, stored=stored, **which)

    @contextmanager
    def away(self) -> Generator[None]:
        """For the length of the block the broker cannot be reached: nothing is delivered, every publish is refused.

        `bus.advance` moves the clock meanwhile; `bus.drain` belongs after the block.
        """
        if self.is_away:
            raise ConfigurationError("the broker is away already: one `away()` at a time")
        self.is_away = True
        for source in self.sources.values():
            source.stall(AWAY)
        try:
            yield
        finally:
            self.is_away = False
            for source in self.sources.values():
                source.resume()

    # ---------------------------------------------------------------- inside

    def _delivering(
        self, kind: str, moment: Moment, topic: Topic[T], *, group: str | None = None, **more: Any
    ) -> Fault:
        self._check(kind, topic)
        fit = [s for s in self._subscriptions.values() if s.topic.name == topic.name and group in {None, s.group}]
        if not fit:
            whom = "nobody" if group is None else f"no group {group!r}"
            raise ConfigurationError(f"{kind}({topic.name}): {whom} in this application consumes it")
        if len(fit) > 1:
            names = " or ".join(f"group={subscription.group!r}" for subscription in fit)
            raise ConfigurationError(f"{kind}({topic.name}): several groups consume it: say which with {names}")
        return self._arm(kind, moment, topic, fit[0].name, **more)

    def _sending(self, kind: str, topic: Topic[T], **more: Any) -> Fault:
        self._check(kind, topic)
        return self._arm(kind, "send", topic, topic.name, **more)

    def _check(self, kind: str, topic: Topic[Any]) -> None:
        if not isinstance(topic, Topic):
            raise ConfigurationError(f"{kind}({topic!r}): give the Topic object, not its name")

    def _arm(
        self,
        kind: str,
        moment: Moment,
        topic: Topic[T],
        place: str,
        *,
        only: Callable[[T], bool] | None = None,
        **more: Any,
    ) -> Fault:
        fault = Fault(kind=kind, moment=moment, place=place, fits=self._fits(topic, only), **more)
        self._armed.append(fault)
        return fault

    def _fits(self, topic: Topic[T], only: Callable[[T], bool] | None) -> Callable[[Message], bool]:
        def fits(message: Message) -> bool:
            if only is None:
                return True
            try:
                return only(topic.decode(message))
            except DecodeError:
                return False
            except Exception as error:  # noqa: BLE001 - the test's own mistake: `drain` raises it
                self.broken = error
                return False

        return fits

    def take(self, moment: Moment, place: str, message: Message) -> Fault | None:
        """The fault that hits `message` now, if any."""
        return next((f for f in self._armed if f.moment == moment and f.place == place and f.takes(message)), None)

    def happened(self, fault: Fault, message: Message, text: str, *, due: float | None = None) -> None:
        """Count a fault of delivering and tell of it. `due`: when the message comes, where it is late."""
        fault.fired += 1
        again = fault.kind in {"duplicate", "crash_at_settle"}
        self._story.fault(fault.place, message, text, due=due, again=again)

    def started(self, delivery: Delivery[Any]) -> None:
        """The handling of `delivery` begins."""
        place = f"{delivery.topic}/{delivery.group}"
        fault = self.take("start", place, delivery.message)
        if fault is not None:
            asyncio.get_running_loop().call_soon(self.sources[place].lose, delivery, fault)

    def ended(self, delivery: Delivery[Any]) -> None:
        """The handling of `delivery` is over, whatever became of it."""
        source = self.sources.get(f"{delivery.topic}/{delivery.group}")
        if source is not None:
            source.hand_on(delivery)

    def reach(self) -> None:
        """Raise `BrokerUnavailable` while the broker is away."""
        if self.is_away:
            raise BrokerUnavailable(AWAY)

    def let_come(self) -> bool:
        """Nothing else is left: hand out what waits for another one to pass it. Whether there was any."""
        return any(source.let_come() for source in self.sources.values())

    def missed(self) -> list[Fault]:
        """Those that had to happen, and did not."""
        return [fault for fault in self._armed if fault.required and fault.fired < fault.times]
