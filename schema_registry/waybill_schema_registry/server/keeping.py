"""Which answers are kept: those that were right before and after they were made."""

from __future__ import annotations

from typing import Any

from waybill_schema_registry.engine.subjects import ANY, split
from waybill_schema_registry.server.asking import Ask
from waybill_schema_registry.server.kept import Entry
from waybill_schema_registry.server.schemas import place_of
from waybill_schema_registry.server.shapes import Registered

__all__ = ["entry_of"]


def entry_of(ask: Ask, before: object | None, value: Any, start: dict[str, Any], body: dict[str, Any]) -> Entry | None:
    """The entry for an answer; None if it depends on more than is known of it. before: the stamp when it was begun.

    Answers about another subject than the one that was asked for came by an alias or from another context. References that
    are given may name the latest version of other subjects. What an id stands for is the same while it stands; but a subject
    that does not have it may get it at any time, in whichever context.
    """
    route, engine = ask.route, ask.engine
    if not isinstance(value, Registered) or value.max_id is not None:
        return None
    place = place_of(ask) or ""
    if route.keep == "id" and _whole_context(place):
        if not engine.stands(ask.id, place):
            return None
        return Entry(operation=route.name, start=start, body=body, id=ask.id, place=place, stamp=engine.serial)
    subject = place if route.keep == "id" else ask.subject
    if value.subject != subject or (route.body is not None and value.references):
        return None
    if before is None or engine.stamp(subject) != before:
        return None
    return Entry(operation=route.name, start=start, body=body, right=route.right, subject=subject, stamp=before)


def _whole_context(place: str) -> bool:
    context, subject = split(place)
    return not subject and context != ANY
