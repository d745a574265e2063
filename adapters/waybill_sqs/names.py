"""What a topic, a group and their parts are called on AWS. Pure, and told apart whatever they are called.

AWS takes letters, digits, `-` and `_`, so `.` is written `-`, `-` is `_-`, and `_` is `__`. After `_` there is no other
letter in a name, so `_to_` parts without doubt: the topic `orders.placed` is the SNS topic `orders-placed`, its group
`billing` the queue `orders-placed_to_billing`, that group's dead letters `orders-placed_to_billing_dead`. A topic that is
`direct` is the queue `orders-placed`. FIFO ones end in `.fifo`.
"""

from __future__ import annotations

from waybill.addressing import fitted, stem
from waybill.topology import TopicSpec

__all__ = ["FIFO", "dead", "plain", "queue", "stem_of", "topic"]

FIFO = ".fifo"
LONGEST_QUEUE = 80
LONGEST_TOPIC = 256
WORDS = str.maketrans({".": "-", "-": "_-", "_": "__"})


def plain(name: str) -> str:
    """A user's name in AWS's letters."""
    return name.translate(WORDS)


def topic(spec: TopicSpec, *, fifo: bool, prefix: str = "") -> str:
    """The SNS topic."""
    return _suffixed(prefix + plain(spec.name), fifo, LONGEST_TOPIC)


def queue(spec: TopicSpec, group: str | None, *, fifo: bool, prefix: str = "") -> str:
    """A group's queue; without a group the topic's own, of one that is direct."""
    return _suffixed(_queue(spec, group, prefix), fifo, LONGEST_QUEUE)


def dead(spec: TopicSpec, group: str, *, fifo: bool, prefix: str = "") -> str:
    """The queue of a group's dead letters."""
    return _suffixed(_queue(spec, group, prefix), fifo, LONGEST_QUEUE, "_dead")


def stem_of(spec: TopicSpec, group: str | None = None, *, prefix: str = "") -> str:
    """What all queues of the topic begin with, or of its groups that begin so, however long their names are."""
    return stem(_queue(spec, group, prefix), _room(LONGEST_QUEUE))


def _queue(spec: TopicSpec, group: str | None, prefix: str) -> str:
    return prefix + plain(spec.name) + ("" if group is None else f"_to_{plain(group)}")


def _suffixed(name: str, fifo: bool, longest: int, part: str = "") -> str:
    end = part + (FIFO if fifo else "")
    return fitted(name, _room(longest), "-") + end


def _room(longest: int) -> int:
    return longest - len("_dead" + FIFO)
