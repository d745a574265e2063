"""The waist: what a broker must be able to do. Everything else is done once, in the core.

*Receive, settle, send, declare*: no broker's own vocabulary crosses these interfaces. Their comments are their
specification; the contract tests hold an adapter to them. ADR 0002 says which brokers taught which rule.

Rules for all of them: methods are called on one event loop; foreign exceptions leave an adapter only as `BrokerError`s;
an adapter repeats nothing beyond what its client library cannot help repeating.

What adapters share is in `waybill.envelope` (a message as text and back), `foreign` (their libraries' exceptions as ours),
`tables` (their settings), `opening`, `addressing`, `browsing` (pages of dead letters), `errors.missing` and `unrouted`,
and `settling.back_off`; docs/adapters.md walks through one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias, runtime_checkable

import msgspec

from waybill.message import Delivery, Message
from waybill.outcomes import ExtendResult, SendResult, Settled, SettlementKind, SettleResult
from waybill.topology import Backlog, Destination, Plan, Subscription, TopicSpec, Topology

__all__ = [
    "Adapter",
    "Admin",
    "Attributes",
    "Capabilities",
    "Describes",
    "Event",
    "Explains",
    "Limits",
    "MovesLetters",
    "Notify",
    "Page",
    "Resumed",
    "Revoked",
    "Revoking",
    "Sink",
    "Source",
    "Stalled",
    "Varies",
    "capabilities_of",
    "claims_of",
]


class Revoking(msgspec.Struct, frozen=True):
    """The ownership of these partitions ends at `deadline` (`time.monotonic()`; `None`: the broker waits).

    What is handed out of them must be settled by then: what has not started is released at once, what runs is settled
    when it ends. The adapter lets go as soon as nothing of them is unsettled. A partition may come back; its messages
    are then new deliveries. Many brokers never send this.
    """

    partitions: frozenset[str]
    deadline: float | None = None


class Revoked(msgspec.Struct, frozen=True):
    """These deliveries are no longer ours, whatever was answered before: settling them answers `Lost`."""

    deliveries: Sequence[Delivery[Any]]


class Stalled(msgspec.Struct, frozen=True):
    """The source cannot deliver now and is trying again by itself, with back-off. Over at the next `Resumed`."""

    cause: str


class Resumed(msgspec.Struct, frozen=True):
    """The source can deliver again."""


Event: TypeAlias = Revoking | Revoked | Stalled | Resumed

Notify: TypeAlias = Callable[[Event], None]
"""How a source tells the core: called on the event loop, at any time until the source is left, also while no `receive`
runs and after `quiesce`. Does not block and does not raise."""


class Sink(Protocol):
    """One destination's way in."""

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        """Store the messages and say of each what became of it, in the order given.

        Returns when all are decided, and at `deadline` (the loop's clock) at the latest: what is undecided then is
        `Unknown`. Not cancelled by the core, except when the application gives up waiting at shutdown. Several sends may
        overlap; the core never has two messages of one key in two overlapping sends. A message with `due` is not
        delivered before; that is a time of `AdapterContext.clock`, which need not be the broker's. One message that cannot
        be stored takes no neighbour down.

        `Refused` means that no group will see it. Where one of a topic's groups took it and another did not, that is
        `Unknown`. A raised `BrokerError` makes all of them `Unknown`; an adapter that knows that nothing was written
        answers `Refused(transient=True)` instead.
        """
        ...


class Source(Protocol):
    """One subscription's way out. One consumer uses it; `receive` never runs twice at a time.

    Every delivery that was handed out is settled once by the core or named in `Revoked`. What was fetched and not handed
    out is the adapter's, who gives it back when it can no longer be wanted. The source keeps its membership alive until
    it is left, whether or not anybody receives.
    """

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        """Hand out at most `limit` deliveries.

        Waits until there is something, or as long as the adapter sees fit (some seconds); empty is normal. Never holds a
        delivery back to wait for more. A lease counts from the fetch, not from the hand-out. Not cancelled by the core:
        `quiesce` makes it return. While the broker is away it waits, with back-off, and tells by `Stalled`. Raises
        `DestinationMissing` when there is nothing to receive from any more.

        Where the subscription is ordered, deliveries of one key come in publishing order, and no other member is handed
        a message of a key that is held here.
        """
        ...

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        """Settle in bulk, each with a result of its own, in the order given.

        Only kinds in `Adapter.native_settlements` are asked for. Settling a delivery again in the same way is the same
        as once, in another way it is `Lost`; the adapter keeps repeats from the broker. `settle` and `extend` of one
        delivery never overlap. Raises `BrokerError` when it is not known what was taken; the core then asks again,
        and what was taken the first time is `Done` as long as its lease lasts.

        In an ordered subscription a `Release` is handed out again before any later message of its key; those of one key
        are released in order, in one call. What was received while that call was under way is released in the next one,
        unhandled. `Release` after `Revoking` or `quiesce` leaves the message to the next owner.
        """
        ...

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        """Renew the leases by the subscription's lease from now, and say how long they are. With no delivery, only show
        that the broker can be reached, or raise.

        Where one heartbeat keeps all leases this only asks. An adapter judges by its own clock: past the end of a lease it
        answers `Lost`, even if the broker might be kinder. What could not be renewed in time the core gives up, and asks
        for its `Release` as soon as `extend` answers again: `Done` if it is still kept for us, else `Lost`.
        """
        ...

    async def quiesce(self) -> None:
        """Fetch no more: a running `receive` returns soon with what it has.

        What was handed out stays ours to settle, and no other member is given a key that is held here.
        """
        ...


class Page(msgspec.Struct, frozen=True):
    """A look at dead letters. `after` opens the next page, `None`: there is none."""

    messages: Sequence[Message]
    after: str | None = None
    complete: bool = True
    """`False`: the broker cannot show all of them, e.g. because others hold some now."""


class Admin(Protocol):
    """What operators and start-up need."""

    async def plan(self, topology: Topology) -> Plan:
        """What `apply` would change. Never changes anything."""
        ...

    async def apply(self, plan: Plan, *, allow: Collection[str] = ()) -> None:
        """Create what is missing and alter what costs nobody anything; several processes may do it at once.

        What `differs` is changed where `allow` names it (`Change.what`), and left otherwise. Never deletes.
        """
        ...

    async def expand(self, subscription: Subscription) -> Sequence[Subscription]:
        """The groups that a subscription to a pattern stands for now, one a topic, where the broker has one for each.

        Else, and for a plain subscription, that itself. Only what this answers is given to `backlog`, `browse` and
        `Adapter.dead_letters`.
        """
        ...

    async def backlog(self, subscription: Subscription) -> Backlog:
        """What lies before the group now, each figure with its exactness."""
        ...

    async def browse(self, subscription: Subscription, *, after: str | None = None, limit: int = 100) -> Page:
        """Look at the group's dead letters, oldest first. `after` comes from the page before.

        Takes none away. A broker that can only take and put back may hide them from others meanwhile.
        """
        ...


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one destination carries. Checked by the core before anything is sent."""

    body_bytes: int = 1 << 20
    header_bytes: int = 64 << 10
    """The user's headers and ours together."""
    delay: float | None = None
    """Longest delay in seconds; 0: none at all, `None`: any."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker can do. The most it can is known without I/O; it is narrowed after connecting."""

    broker: str
    """Its name, for people."""
    version: str = ""
    """Of the broker, for people; known after connecting."""
    ordered: bool
    """Keeps messages of one key in order over several members."""
    durable: bool
    """A confirmed message survives a restart."""
    holds_key_from: float | None = None
    """A `Defer` of at least so many seconds keeps its key's later messages back at the broker, so that the core may
    release those it holds. A shorter one waits in the core, its lane closed and its lease renewed. `None`: never."""
    blocks_partition: bool = False
    """A failed message can hold up all that lies behind it in its partition, of whatever key."""
    relaxes: bool = True
    """A failed message of an ordered key can be put off while the key's later ones go on."""
    longest_defer: float | None = None
    """A longer `Defer` is emulated: publish, confirm, ack. `None`: any is native (where `Defer` is native at all)."""
    acks_surely: bool = False
    """`Done` for an `Ack` means that the message never comes again. Elsewhere it may, when the link breaks at the wrong
    moment, and the core remembers what it acknowledged."""
    crash_factor: int | None = None
    """The broker cannot tell a message that killed its process from one that was given back, and counts both. One that was
    handed out so many times as often as it has attempts counts as one that kills. `None`: attempts count crashes."""
    filters: bool = False
    """The broker applies `Subscription.where`. Elsewhere the core acknowledges what does not fit, unseen."""
    patterns: bool = False
    """A subscription may be to a pattern, and gets also what is published to a topic that is created later."""
    ephemeral: bool = False
    """A group can come and go with its consumer."""
    history: bool = False
    """What has been handled can be kept, so that a new group may start with the earliest."""
    replays: bool = False
    """What a topic has kept can be read again in part, and by nobody's group: the adapter is a `history.KeepsHistory`."""
    delays: bool = True
    """A message can be published to be delivered later. Elsewhere the core refuses a delay; `Limits.delay` says how long."""
    limits_length: bool = False
    """Publishing is refused while a group has `TopicSpec.max_length` messages to handle."""
    dedup_window: float | None = 0.0
    """The longest `TopicSpec.dedup_window` in seconds. 0: none, `None`: any."""
    one_machine: bool = False
    """All who use it have to be on one machine, which is the broker's as well."""
    sends_in_order: bool = False
    """Of one key's messages in one send, none is stored behind one that is not. Elsewhere the core sends one at a time."""


class Adapter(AbstractAsyncContextManager["Adapter"], Protocol):
    """One broker. Entering it connects (or raises `BrokerUnavailable`), leaving it closes everything it opened."""

    @property
    def claims(self) -> Capabilities:
        """The most this broker can, without I/O."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the connected broker can, with this version and these permissions."""
        ...

    @property
    def native_settlements(self) -> frozenset[SettlementKind]:
        """What the broker settles by itself; `Ack` and `Release` always. The core emulates the rest: publish, confirm, ack."""
        ...

    @property
    def admin(self) -> Admin: ...

    def gaps(self, topology: Topology) -> Sequence[str]:
        """What of `topology` this broker cannot carry for reasons of its own (names, its own options), each with the fix.

        What `Capabilities` says, the core has checked. No I/O.
        """
        ...

    def limits(self, destination: Destination) -> Limits:
        """What this destination carries. No I/O."""
        ...

    def sink(self, destination: Destination) -> AbstractAsyncContextManager[Sink]:
        """Open a way in. It may be opened before the destination exists; sending to what is missing is `Refused`."""
        ...

    def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AbstractAsyncContextManager[Source]:
        """Open a way out that holds at most `window` unsettled deliveries. Leaving it gives back what was not settled.

        Raises `DestinationMissing`.
        """
        ...

    def dead_letters(self, subscription: Subscription) -> AbstractAsyncContextManager[Source]:
        """Open a way to take the dead letters that a group has now: `Ack` removes one for good, `Release` leaves it.

        They have leases, as all that is handed out, so that those of a process that died can be taken again.
        None is handed out twice by one source; `receive` answers empty, at once, when all have been. What the broker
        itself dead-lettered comes with a `dead` record made by the adapter (reason `crashed`, `expired` …).
        """
        ...


@runtime_checkable
class Explains(Protocol):
    """An adapter that has more to say of a subscription before anything starts, e.g. what it costs."""

    def facts(self, subscription: Subscription) -> Sequence[tuple[str, str]]:
        """In words: pairs of what and how. No I/O."""
        ...


@runtime_checkable
class MovesLetters(Protocol):
    """An adapter whose broker moves dead letters by itself: all that there are, unread, and on though we die."""

    async def move_letters(self, subscription: Subscription, *, rate: float | None, note: Callable[[int], None]) -> int:
        """Have the group's dead letters moved back to it; says how many were, about. rate: letters a second at most. note:
        called with how many are moved so far.

        What a source hands out of them is as `deadletters.again` makes it. Cancelled, it has the broker stop. Raises
        `ConfigurationError` for what the broker cannot move so, and `BrokerError`.
        """
        ...


@runtime_checkable
class Varies(Protocol):
    """An adapter whose broker has kinds of topics that differ in what can be done with them. Its `Capabilities` are those of a
    topic that was given no options."""

    def narrowed(self, can: Capabilities, topic: TopicSpec) -> Capabilities:
        """What can be done with this topic, where `can` is what can be done with one without options. No I/O."""
        ...


Attributes: TypeAlias = Mapping[str, str | int | bool]
"""What OpenTelemetry's messaging conventions say of something, by their names."""


@runtime_checkable
class Describes(Protocol):
    """An adapter that knows what OpenTelemetry's messaging conventions say of its broker. Offered beside `Adapter`; asked once it
    has connected, and answered without I/O. Of an adapter that does not offer it, its name and the topic's are told."""

    def place_attributes(self, place: Destination | Subscription) -> Attributes:
        """Of all that is sent to a destination, or received from a subscription: `messaging.system`, `messaging.destination.name`
        in the form that is the broker's, `messaging.consumer.group.name`, `server.address` …"""
        ...

    def message_attributes(self, place: Destination, message: Message) -> Attributes:
        """Of one message that is sent there, beside those of the place and `messaging.message.id`; by default none."""
        del place, message
        return {}

    def delivery_attributes(self, delivery: Delivery[Any]) -> Attributes:
        """Of one delivery, beside those of its subscription: partition, offset, delivery tag …; by default none."""
        del delivery
        return {}

    def position_attributes(self, position: str) -> Attributes:
        """Of where a message was stored, from `Confirmed.position`; by default none."""
        del position
        return {}

    def location(self, place: Subscription, delivery: Delivery[Any]) -> str:
        """Where the broker had the delivery, for people who look for it there; by default its place and partition: `orders/3`."""
        told = {**self.place_attributes(place), **self.delivery_attributes(delivery)}
        name = told.get("messaging.destination.name") or delivery.partition or delivery.topic
        partition = told.get("messaging.destination.partition.id")
        return str(name) if partition is None else f"{name}/{partition}"


def claims_of(adapter: Adapter, topic: TopicSpec) -> Capabilities:
    """The most that can be done with the topic, without I/O."""
    return adapter.narrowed(adapter.claims, topic) if isinstance(adapter, Varies) else adapter.claims


def capabilities_of(adapter: Adapter, topic: TopicSpec) -> Capabilities:
    """What can be done with the topic on the connected broker."""
    return adapter.narrowed(adapter.capabilities, topic) if isinstance(adapter, Varies) else adapter.capabilities
