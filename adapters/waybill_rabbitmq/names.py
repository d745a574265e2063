"""What a topic, a group and their parts are called on the broker. Pure, and told apart whatever they are called.

`/` is in no name that a user gives, so it parts them without doubt: the exchange of topic `orders` is `orders`, the inbox
of its group `billing` is the exchange and queue `orders/billing`, its dead letters `orders/billing/dead`.
"""

from __future__ import annotations

from waybill.addressing import fitted
from waybill.topology import Subscription, TopicSpec

__all__ = [
    "LADDER",
    "LOST",
    "OWN",
    "RETURN",
    "address",
    "dead",
    "exchange",
    "inbox",
    "members",
    "partition_queue",
    "rest",
    "step",
    "taken",
    "turn",
]

OWN = "waybill"
LADDER = f"{OWN}/delay"
RETURN = f"{OWN}/return"
LOST = f"{OWN}/lost"
LONGEST = 127
"""Characters that an exchange's name may have: AMQP 0-9-1, domain exchange-name."""
LONGEST_ADDRESS = 160
"""Characters of a return address, which has to fit into a routing key of 255 bytes behind the ladder's bits."""


def taken(topic: str) -> str | None:
    """Whose a topic's name is already, or its groups' names would be; `None`: it is free."""
    if topic.startswith("amq."):
        return "names that begin with `amq.` are RabbitMQ's own"
    return "the names of delays and retries begin so" if topic == OWN else None


def exchange(topic: TopicSpec) -> str:
    return fitted(topic.name, LONGEST)


def inbox(topic: TopicSpec, group: str | None) -> str:
    """The group's own exchange, and its queue where it has one."""
    return fitted(f"{topic.name}/{group}", LONGEST - 8)


def rest(topic: TopicSpec, group: str | None) -> str:
    """Where the group's exchange sends what is for none of its partitions."""
    return f"{inbox(topic, group)}/rest"


def dead(topic: TopicSpec, group: str | None) -> str:
    return f"{inbox(topic, group)}/dead"


def members(subscription: Subscription) -> str:
    """The queue whose consumers are the group's members."""
    return f"{inbox(subscription.topic, subscription.group)}/members"


def turn(subscription: Subscription) -> str:
    """The queue that belongs to the member who empties the group's queue of before it had partitions."""
    return f"{inbox(subscription.topic, subscription.group)}/turn"


def partition_queue(subscription: Subscription, number: int) -> str:
    return f"{inbox(subscription.topic, subscription.group)}/{number}"


def step(level: int) -> str:
    """An exchange and a queue of the ladder: the longer the wait, the higher the number."""
    return f"{LADDER}/{level:02}"


def address(name: str) -> str:
    """An exchange's name as one word of a routing key."""
    return fitted(name.replace(".", ":"), LONGEST_ADDRESS)
