"""What a topic, a group and their parts are called on the broker. Pure, and told apart whatever they are called.

`..` is in no name that a user gives, so it parts them without doubt. Topic `orders` is the topic `orders`. Its group
`billing` is the consumer group `orders..billing`, and has three topics of its own: `orders..billing.inbox` (what is for it
alone), `orders..billing.later` (what waits for its time) and `orders..billing.dead` (its dead letters). What is published to
`orders` for later waits in `orders..later`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from waybill.addressing import fitted
from waybill.topology import Subscription, TopicSpec, matches

__all__ = [
    "collisions",
    "dead",
    "forwarders",
    "group",
    "groups_of",
    "inbox",
    "lasting",
    "later",
    "regex",
    "sharers",
    "topic",
]

LONGEST = 249
"""Characters that a topic's name may have: Kafka's `Topic.MAX_NAME_LENGTH`."""
PASSING = "..~"
"""Begins what is behind the topic's name in the group of a consumer that goes with its process."""


def topic(spec: TopicSpec) -> str:
    return spec.name


def group(spec: TopicSpec, name: str) -> str:
    """The consumer group."""
    return f"{spec.name}..{name}"


def inbox(spec: TopicSpec, name: str) -> str:
    return _part(spec, name, "inbox")


def dead(spec: TopicSpec, name: str) -> str:
    return _part(spec, name, "dead")


def later(spec: TopicSpec, name: str | None) -> str:
    """Where a group's retries wait; without a group, what is published to the topic for later."""
    return _part(spec, name, "later") if name is not None else _fitted(f"{_plain(spec.name)}.", "later")


def forwarders(room: str) -> str:
    """The consumer group of those who hand on what waits there."""
    return f"waybill/{room}"


def _part(spec: TopicSpec, name: str, part: str) -> str:
    return _fitted(f"{_plain(spec.name)}..{_plain(name)}", part)


def _plain(name: str) -> str:
    """A pattern's name in letters that a topic may have."""
    return name.replace("*", "_one_").replace("#", "_any_").replace("~", "-")


def _fitted(name: str, part: str) -> str:
    return f"{fitted(name, LONGEST - 1 - len(part), '-')}.{part}"


def groups_of(name: str, groups: Iterable[str]) -> list[str]:
    """Which of these consumer groups share a topic, by its name or by a pattern that it fits."""
    found: list[str] = []
    for each in groups:
        shared, parted, rest = each.partition("..")
        if parted and rest and (shared == name or matches(shared, name)):
            found.append(each)
    return found


def sharers(name: str, topics: Iterable[str]) -> list[str]:
    """The groups that share a topic, as far as the names of their inboxes say so."""
    inboxes = (topic.removesuffix(".inbox") for topic in topics if topic.endswith(".inbox"))
    return groups_of(name, (each.replace("_one_", "*").replace("_any_", "#") for each in inboxes))


def lasting(groups: Iterable[str]) -> list[str]:
    """Those of them that do not go with a process."""
    return [group for group in groups if PASSING not in group]


def collisions(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of topics that Kafka takes for one in the names of its metrics, and so refuses to have both."""
    seen: dict[str, str] = {}
    found: list[tuple[str, str]] = []
    for name in sorted(set(names)):
        alike = seen.setdefault(name.replace(".", "_"), name)
        if alike != name:
            found.append((alike, name))
    return found


def regex(subscription: Subscription, parts: Iterable[str]) -> str:
    """What fits the topics of a pattern, and these. Parts of other groups, which are parted by `..`, do not fit."""
    words = subscription.topic.name.split(".")
    word = r"[A-Za-z0-9_-]+"
    pattern = ""
    for place, each in enumerate(words):
        dot = r"\." if place else ""
        if each == "#":
            pattern += rf"({dot}{word})*" if place else rf"({word}(\.{word})*)?"
        elif place == 1 and words[0] == "#":
            pattern += rf"(^|\.)({word if each == '*' else re.escape(each)})"
        else:
            pattern += dot + (word if each == "*" else re.escape(each))
    return "|".join([rf"({pattern})$", *(rf"{re.escape(part)}$" for part in parts)])
