"""What a broker can, in words and side by side with others: by itself, by what the core does for it, or not at all. Pure.

From what an adapter claims before it connects. Each ability names the promises that show it, by their id in the ledger of the
contracts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from waybill.adapter import Adapter, Capabilities, Limits, claims_of
from waybill.outcomes import DeadLetter, Defer
from waybill.retry import duration
from waybill.topology import Destination, TopicSpec

__all__ = ["ABILITIES", "Ability", "How", "abilities", "size"]

How: TypeAlias = Literal["native", "emulated", "refused"]
COPIED = "a copy is published and confirmed, then the message acknowledged: a process that dies in between leaves both"


class Ability(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that an application may ask for."""

    name: str
    how: How
    words: str
    """The limit, or what is weaker."""
    promises: tuple[str, ...]


class Broker(NamedTuple):
    """What is known of one before it is connected to."""

    can: Capabilities
    limits: Limits
    settles: frozenset[type]


Answer: TypeAlias = tuple[How, str]


def abilities(adapter: Adapter, topic: TopicSpec) -> dict[str, Ability]:
    """All of them, by name, for a topic with these options. No I/O."""
    broker = Broker(
        claims_of(adapter, topic), adapter.limits(Destination("topic", topic)), frozenset(adapter.native_settlements)
    )
    found: dict[str, Ability] = {}
    for name, (promises, answer) in ABILITIES.items():
        how, words = answer(broker)
        found[name] = Ability(name=name, how=how, words=words, promises=promises)
    return found


def _stored(broker: Broker) -> Answer:
    if broker.can.durable:
        return "native", "what was confirmed survives a restart"
    return "refused", "it is memory: everything goes with its process"


def _ordered(broker: Broker) -> Answer:
    return _can(broker.can.ordered, "over any number of members", "messages of one key come in any order")


def _waits(broker: Broker) -> Answer:
    can = broker.can
    if not can.ordered:
        return "refused", "there is no order to keep"
    if can.holds_key_from is None:
        return "emulated", "the key waits in the member that has it, which renews the lease"
    since = f", for waits of {duration(can.holds_key_from)} or more" if can.holds_key_from else ""
    return "native", f"the broker holds the key back{since}"


def _relaxes(broker: Broker) -> Answer:
    can = broker.can.ordered and broker.can.relaxes
    return _can(can, "it comes again, marked as out of order", "a key waits for its failed message")


def _retries(broker: Broker) -> Answer:
    longest = broker.can.longest_defer
    if Defer not in broker.settles:
        return "emulated", COPIED
    return "native", "for any time" if longest is None else f"for {duration(longest)}; beyond that {COPIED}"


def _dead_letters(broker: Broker) -> Answer:
    return ("native", "kept by group") if DeadLetter in broker.settles else ("emulated", COPIED)


def _delays(broker: Broker) -> Answer:
    longest = broker.limits.delay
    if not broker.can.delays or longest == 0:
        return "refused", "what is published can be received at once"
    return "native", "by any time" if longest is None else f"by {duration(longest)} at most"


def _crashes(broker: Broker) -> Answer:
    factor = broker.can.crash_factor
    if factor is None:
        return "native", "a crash is an attempt, and counted as one"
    return "emulated", f"the broker counts crashes with all it got back: dead-lettered at {factor} times the attempts"


def _acknowledged(broker: Broker) -> Answer:
    if broker.can.acks_surely:
        return "native", "what was acknowledged never comes again"
    return "emulated", "a process remembers what it acknowledged; another one may get it again when a connection breaks"


def _filters(broker: Broker) -> Answer:
    return ("native", "") if broker.can.filters else ("emulated", "what does not fit is fetched, and passed over")


def _once(broker: Broker) -> Answer:
    longest = broker.can.dedup_window
    if longest == 0:
        return "refused", "the handler has to skip what it has done"
    return "native", "for any time" if longest is None else f"within {duration(longest)}"


def _size(broker: Broker) -> Answer:
    return "native", f"{size(broker.limits.body_bytes)} of body, {size(broker.limits.header_bytes)} of headers"


def _can(can: bool, words: str, otherwise: str) -> Answer:
    return ("native", words) if can else ("refused", otherwise)


ABILITIES: dict[str, tuple[tuple[str, ...], Callable[[Broker], Answer]]] = {
    "storing before confirming": (("P02", "P12", "C01"), _stored),
    "several groups": (("G02", "D06", "R08"), lambda _: ("native", "each gets every message, and keeps its own")),
    "members on several machines": (
        (),
        lambda b: _can(
            not b.can.one_machine,
            "wherever they reach it from",
            "all who use it are on the one machine that has its file",
        ),
    ),
    "order by key": (("O01", "O02", "O07"), _ordered),
    "a key that waits for its failed message": (("O04", "O06"), _waits),
    "a key that goes on without its failed message": (("O05",), _relaxes),
    "waiting for a retry": (("R02", "R03", "R14"), _retries),
    "dead letters": (("D01", "D02", "D08"), _dead_letters),
    "a message that kills its process": (("D12",), _crashes),
    "acknowledging": (("A02", "A15"), _acknowledged),
    "delayed publishing": (("S01", "S02", "S03"), _delays),
    "history": (("G08",), lambda b: _can(b.can.history, "for a topic's retention", "what was handled is gone")),
    "topics by pattern": (("G14",), lambda b: _can(b.can.patterns, "", "topics are named")),
    "ephemeral groups": (("G06",), lambda b: _can(b.can.ephemeral, "", "groups stay")),
    "header filters": (("G15",), _filters),
    "a limited length": (("P14",), lambda b: _can(b.can.limits_length, "", "a group may grow without end")),
    "one message an id": (("P13",), _once),
    "large messages": (("P07",), _size),
}
"""By name: the promises that show it, and how a broker answers."""


def size(amount: int) -> str:
    """Bytes for people: `900 B`, `256 KiB`, `1 MiB`."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if amount >= unit:
            return f"{amount / unit:.4g} {name}"
    return f"{amount} B"
