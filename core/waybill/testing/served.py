"""Which handler serves which group, also where a pattern stands for the topic or a group's name is made at run time."""

from __future__ import annotations

from collections.abc import Sequence

from waybill.message import Message
from waybill.registration import Registration
from waybill.topology import fits, matches

__all__ = ["Handlers"]


class Handlers:
    """The handlers of an application, by the place (`topic/group`) whose messages they get."""

    def __init__(self, registrations: Sequence[Registration]) -> None:
        self._registrations = registrations

    def name(self, place: str) -> str:
        """The handler's name, for people."""
        topic, _, group = place.partition("/")
        for registration in self._registrations:
            subscription = registration.subscription
            own = group == subscription.group or (subscription.ephemeral and group.startswith(f"{subscription.group}."))
            if own and _is_for(registration, topic):
                return registration.name.rpartition("<locals>.")[2]
        return place

    def places(self, topic: str, message: Message) -> list[str]:
        """Those that a message published on `topic` is for and that have a name of their own before they run."""
        return [
            f"{topic}/{registration.subscription.group}"
            for registration in self._registrations
            if _is_for(registration, topic)
            and not registration.subscription.ephemeral
            and fits(registration.subscription.where, message.headers)
        ]


def _is_for(registration: Registration, topic: str) -> bool:
    spec = registration.topic.spec
    return matches(spec.name, topic) if spec.pattern else spec.name == topic
