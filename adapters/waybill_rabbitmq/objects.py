"""Exchanges, queues and bindings as data: what a topic and a group are made of. Pure.

    topic `t`: exchange t ──#──▶ each group's exchange t/g ──▶ its partitions t/g/0, t/g/1 …
                                 what fits none: t/g/rest ──▶ its queue t/g, or where it has partitions t/g/0
    the group's dead letters: exchange and queue t/g/dead, which is also where the broker itself puts what it gives up
    the ladder, one for all: step 27 ▶ … ▶ step 0 ▶ waybill/return ──address──▶ t (delayed), t/g (retried)

A publish has its partition as routing key, or as the last word of it behind the ladder's; what has another one, since
another program published it, goes to the first partition, by way of t/g/rest. Whatever passes through a
queue on its way is handed on at least once: without that, a copy is lost when a server dies at the wrong moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from waybill.topology import Subscription, TopicSpec
from waybill_rabbitmq import ladder, names
from waybill_rabbitmq.options import options_of, partitions_of

__all__ = ["Binding", "Exchange", "Objects", "Queue", "Shape", "group", "infrastructure", "share", "topic"]

MANY = 2**31 - 1
"""A limit that is never reached. Without any, what is given back goes to the end of the queue instead of its place."""
AT_LEAST_ONCE = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


class Exchange(msgspec.Struct, frozen=True):
    name: str
    kind: Literal["topic", "fanout"] = "topic"
    passing: bool = False
    """It goes with what is bound to it."""
    arguments: Mapping[str, Any] = {}


class Queue(msgspec.Struct, frozen=True):
    name: str
    arguments: Mapping[str, Any]
    passing: bool = False
    """It goes with the connection that declared it."""


class Binding(msgspec.Struct, frozen=True):
    source: str
    destination: str
    key: str
    to: Literal["queue", "exchange"]

    @property
    def ends(self) -> tuple[str, str, str]:
        """As AMQP's methods take them."""
        return self.destination, self.source, self.key


Objects: TypeAlias = tuple[Exchange | Queue | Binding, ...]
"""What belongs together, in the order in which it is made: what shows that all of it is there comes last."""


class Shape(msgspec.Struct, frozen=True):
    """The queues that a group has. `partitions`: 0 for one queue that its members share, in no order."""

    partitions: int = 0

    def queues(self, subscription: Subscription) -> list[str]:
        if not self.partitions:
            return [names.inbox(subscription.topic, subscription.group)]
        return [names.partition_queue(subscription, number) for number in range(self.partitions)]

    @staticmethod
    def of(subscription: Subscription) -> Shape:
        """What the code asks for. A group that only a contract names may have either: that is for its consumer to say."""
        given = options_of(subscription.topic).partitions or 1
        return Shape(partitions_of(subscription.topic) if given > 1 or subscription.ordered else 0)


def quorum(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"x-queue-type": "quorum", **arguments}


def topic(spec: TopicSpec) -> Objects:
    name = names.exchange(spec)
    return (Exchange(name), Binding(names.RETURN, name, f"#.{names.address(name)}.*", "exchange"))


def group(subscription: Subscription, shape: Shape, *, delivery_limit: int) -> Objects:
    spec, passing = subscription.topic, subscription.ephemeral
    inbox, dead = names.inbox(spec, subscription.group), names.dead(spec, subscription.group)
    kept = (
        {"x-queue-type": "classic"} if passing else quorum({"x-delivery-limit": MANY, "x-overflow": "reject-publish"})
    )
    return (
        *_inbox(subscription),
        *_queues(subscription, shape, _arguments(subscription, shape, delivery_limit)),
        Binding(names.RETURN, inbox, f"#.{names.address(inbox)}.*", "exchange"),
        share(subscription),
        Exchange(dead, "fanout", passing=passing),
        Queue(dead, kept, passing),
        Binding(dead, dead, "", "queue"),
    )


def _inbox(subscription: Subscription) -> Objects:
    """What goes with its bindings needs one, so the exchange of an ephemeral group has no rest."""
    inbox, rest = (
        names.inbox(subscription.topic, subscription.group),
        names.rest(subscription.topic, subscription.group),
    )
    if subscription.ephemeral:
        return (Exchange(inbox, passing=True),)
    return (Exchange(rest, "fanout"), Exchange(inbox, arguments={"alternate-exchange": rest}))


def _queues(subscription: Subscription, shape: Shape, arguments: Mapping[str, Any]) -> Objects:
    """From the moment that a partition is bound, its messages go nowhere else. The first one comes last: it shows that all
    of them are there."""
    spec, passing = subscription.topic, subscription.ephemeral
    inbox, queues = names.inbox(spec, subscription.group), shape.queues(subscription)
    rest = (
        Binding(inbox, queues[0], "#", "queue")
        if passing
        else Binding(names.rest(spec, subscription.group), queues[0], "", "queue")
    )
    if not shape.partitions:
        return (Queue(queues[0], arguments, passing), rest)
    made: list[Queue | Binding] = []
    for number in reversed(range(shape.partitions)):
        made += (Queue(queues[number], arguments, passing), Binding(inbox, queues[number], f"#.{number}", "queue"))
    return tuple(made) if passing else (*made, rest)


def share(subscription: Subscription) -> Binding:
    """What lets a group have what is published to its topic."""
    spec = subscription.topic
    return Binding(names.exchange(spec), names.inbox(spec, subscription.group), "#", "exchange")


def _arguments(subscription: Subscription, shape: Shape, delivery_limit: int) -> dict[str, Any]:
    """Of the group's queues."""
    spec = subscription.topic
    arguments: dict[str, Any] = {"x-dead-letter-exchange": names.dead(spec, subscription.group)}
    if spec.max_length is not None:
        arguments |= {"x-max-length": spec.max_length, "x-overflow": "reject-publish"}
    if shape.partitions:
        arguments["x-single-active-consumer"] = True
    if subscription.ephemeral:
        return {"x-queue-type": "classic"} | arguments
    return quorum({"x-delivery-limit": delivery_limit} | AT_LEAST_ONCE | arguments)


def infrastructure() -> Objects:
    """The ladder, and what its foot leads to. What comes down for somebody who has gone is kept in `waybill/lost`."""
    levels = range(ladder.STEPS)
    return (
        Exchange(names.LOST, "fanout"),
        Exchange(names.RETURN, arguments={"alternate-exchange": names.LOST}),
        *(Exchange(names.step(level)) for level in levels),
        *(Queue(names.step(level), _step(level)) for level in levels),
        *(Binding(names.step(level), names.step(level), ladder.waits_key(level), "queue") for level in levels),
        *(Binding(names.step(level), ladder.below(level), ladder.steps_key(level), "exchange") for level in levels),
        Queue(names.LOST, quorum({"x-delivery-limit": MANY})),
        Binding(names.LOST, names.LOST, "", "queue"),
    )


def _step(level: int) -> dict[str, Any]:
    waits = {"x-message-ttl": ladder.wait_of(level), "x-dead-letter-exchange": ladder.below(level)}
    return quorum(waits | AT_LEAST_ONCE)
