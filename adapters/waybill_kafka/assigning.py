"""The library's way to ask who gets what, answered by `sharing`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from waybill_kafka import client
from waybill_kafka.client import TopicPartition
from waybill_kafka.sharing import Claim, Share, share

__all__ = ["Assignor"]


class Assignor:
    """One member's. The library asks for classes, and takes whatever has their methods."""

    name = "waybill"

    def __init__(
        self,
        unit_of: Callable[[TopicPartition], str],
        claim: Callable[[], Claim],
        on_share: Callable[[Share], None],
    ) -> None:
        """`claim`: what to say when joining, asked right before. `on_share`: told what came of it."""
        self._unit_of = unit_of
        self._claim = claim
        self._on_share = on_share

    def metadata(self, topics: Iterable[str]) -> Any:
        return client.subscription(topics, msgspec.json.encode(self._claim()))

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        units: dict[str, list[TopicPartition]] = {}
        for topic in sorted({topic for member in members.values() for topic in member.subscription}):
            for number in sorted(cluster.partitions_for_topic(topic) or ()):
                tp = TopicPartition(topic, number)
                units.setdefault(self._unit_of(tp), []).append(tp)
        shares = share(list(units), {name: _claim_in(member.user_data) for name, member in members.items()})
        return {name: _assignment(each, units) for name, each in shares.items()}

    def on_assignment(self, assignment: Any) -> None:
        try:
            found = msgspec.json.decode(assignment.user_data or b"{}", type=Share)
        except msgspec.MsgspecError:
            found = Share()
        self._on_share(found)


def _claim_in(data: bytes) -> Claim:
    try:
        return msgspec.json.decode(data or b"{}", type=Claim)
    except msgspec.MsgspecError:
        return Claim()


def _assignment(share: Share, units: Mapping[str, list[TopicPartition]]) -> Any:
    topics: dict[str, list[int]] = {}
    for unit in share.units:
        for tp in units[unit]:
            topics.setdefault(tp.topic, []).append(tp.partition)
    return client.assignment(topics, msgspec.json.encode(share))
