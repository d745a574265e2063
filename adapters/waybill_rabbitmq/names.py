"""What a topic, a group and their parts are called on the broker. Pure, and told apart whatever they are called.

`/` is in no name that a user gives, so it parts them without doubt: the exchange of topic `orders` is `orders`, the inbox
of its group `billing` is the exchange and queue `orders/billing`, its dead letters `orders/billing/dead`.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

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
    "partition_of",
    "partition_queue",
    "rest",
    "step",
    "taken",
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
    return _fitted(topic.name, LONGEST)


def inbox(topic: TopicSpec, group: str | None) -> str:
    """The group's own exchange, and its queue where it has one."""
    return _fitted(f"{topic.name}/{group}", LONGEST - 8)


def rest(topic: TopicSpec, group: str | None) -> str:
    """Where the group's exchange sends what is for none of its partitions."""
    return f"{inbox(topic, group)}/rest"


def dead(topic: TopicSpec, group: str | None) -> str:
    return f"{inbox(topic, group)}/dead"


def partition_queue(subscription: Subscription, number: int) -> str:
    return f"{inbox(subscription.topic, subscription.group)}/{number}"


def step(level: int) -> str:
    """An exchange and a queue of the ladder: the longer the wait, the higher the number."""
    return f"{LADDER}/{level:02}"


def address(name: str) -> str:
    """An exchange's name as one word of a routing key."""
    return _fitted(name.replace(".", ":"), LONGEST_ADDRESS)


def _fitted(name: str, longest: int) -> str:
    """Itself, or where that is too long its beginning and a digest of it."""
    if len(name) <= longest:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=10).hexdigest()
    return f"{name[: longest - 21]}@{digest}"


@lru_cache(maxsize=10_000)
def partition_of(key: str, partitions: int) -> int:
    """The partition of a key, as Kafka's clients choose it: murmur2, without its sign."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2 with the seed of Kafka's clients."""
    mask, mix = 0xFFFFFFFF, 0x5BD1E995
    value = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        part = int.from_bytes(data[start : start + 4], "little") * mix & mask
        part = (part ^ part >> 24) * mix & mask
        value = (value * mix & mask) ^ part
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * mix & mask
    value = (value ^ value >> 13) * mix & mask
    return value ^ value >> 15
