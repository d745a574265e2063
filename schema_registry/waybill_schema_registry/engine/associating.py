"""Associations: which subject a resource (a topic) takes for its keys or values (Confluent 8's `/associations`).

A WEAK association only says so. A STRONG one owns its subject: nobody else may have it, and it goes with the resource. A
frozen one does not change any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import uuid4

import msgspec

from waybill_schema_registry.engine.catalog import Catalog
from waybill_schema_registry.engine.failures import subject_associated
from waybill_schema_registry.engine.limits import LONGEST_NAME
from waybill_schema_registry.engine.subjects import CONTROL, split
from waybill_schema_registry.engine.view import View
from waybill_schema_registry.entities import Schema
from waybill_schema_registry.errors import Conflict, Invalid
from waybill_schema_registry.stores.store import Change, RecordSet

__all__ = ["KIND", "Association", "Resource", "Wanted", "associate", "associated", "dissociate", "select"]

KIND = "association"
TOPIC = "topic"
TYPES = ("key", "value")
WEAK, STRONG = "WEAK", "STRONG"


class Association(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One subject, for one purpose of one resource."""

    subject: str
    guid: str
    resource_name: str
    resource_namespace: str
    resource_id: str
    resource_type: str = TOPIC
    association_type: str = "value"
    lifecycle: str = WEAK
    frozen: bool = False


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """What is associated. name, namespace: as people call it. id: as its owner knows it, for ever."""

    name: str
    namespace: str
    id: str
    type: str = TOPIC


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An association that is asked for. None: as it is, or as it is by default. schema: registered with it."""

    subject: str = ""
    type: str = "value"
    lifecycle: str | None = None
    frozen: bool | None = None
    schema: Schema | None = None
    normalize: bool | None = None


def every(catalog: Catalog) -> Iterator[Association]:
    for body in catalog.of_kind(KIND).values():
        yield DECODER.decode(body)


def associated(catalog: Catalog, subject: str) -> list[Association]:
    return [each for each in every(catalog) if split(each.subject).qualified == subject]


def select(
    catalog: Catalog,
    *,
    subject: str | None = None,
    id: str | None = None,  # noqa: A002 - as the API names it
    name: str | None = None,
    namespace: str | None = None,
    type: str | None = None,  # noqa: A002
    types: Sequence[str] = (),
    lifecycle: str | None = None,
) -> list[Association]:
    """Those that have all that is asked for, by subject and type. namespace: `-` is any."""
    wanted = None if subject is None else split(subject).qualified
    found = [
        each
        for each in every(catalog)
        if (wanted is None or split(each.subject).qualified == wanted)
        and (id is None or each.resource_id == id)
        and (name is None or each.resource_name == name)
        and (namespace in (None, "-") or each.resource_namespace == namespace)
        and (not type or each.resource_type == type)
        and (not types or each.association_type in types)
        and (not lifecycle or each.lifecycle == lifecycle.upper())
    ]
    return sorted(found, key=lambda each: (each.subject, each.resource_name, each.association_type))


def associate(
    view: View, resource: Resource, wanted: Sequence[Wanted], *, update: bool
) -> tuple[Sequence[Change], list[Association]]:
    """All of them or none. Schemas are registered before. Raises `Invalid` (42212), `Conflict` (40903 to 40908)."""
    validate(resource, wanted)
    made: list[Association] = []
    changes: list[Change] = []
    for each in wanted:
        association = one(view, resource, each, update=update)
        made.append(association)
        body = msgspec.json.encode(association)
        key = key_of(association)
        if view.catalog.of_kind(KIND).get(key) != body:
            changes.append(RecordSet(kind=KIND, key=key, body=body))
    return changes, made


def one(view: View, resource: Resource, wanted: Wanted, *, update: bool) -> Association:
    name = split(wanted.subject)
    body = view.catalog.of_kind(KIND).get(f"{resource.type}/{resource.id}/{wanted.type}")
    before = None if body is None else DECODER.decode(body)
    if before is not None:
        after = changed(before, wanted, resource, update=update)
        if before.lifecycle != after.lifecycle == STRONG and len(associated(view.catalog, name.qualified)) > 1:
            raise subject_associated(name.qualified)
        return after
    there = view.subject(name)
    if wanted.schema is None and (there is None or there.latest is None):
        text = f"No active (non-deleted) version exists for subject '{wanted.subject}'"
        raise Conflict(text, code=40907)
    lifecycle = (wanted.lifecycle or (STRONG if wanted.frozen else WEAK)).upper()
    exclusive(view, name.qualified, wanted, lifecycle)
    return Association(
        subject=wanted.subject,
        guid=str(uuid4()),
        resource_name=resource.name,
        resource_namespace=resource.namespace,
        resource_id=resource.id,
        resource_type=resource.type,
        association_type=wanted.type,
        lifecycle=lifecycle,
        frozen=bool(wanted.frozen),
    )


def exclusive(view: View, subject: str, wanted: Wanted, lifecycle: str) -> None:
    others = associated(view.catalog, subject)
    if others and lifecycle == STRONG:
        raise subject_associated(subject)
    if any(other.lifecycle == STRONG for other in others):
        raise Conflict(f"A strong association already exists for subject '{wanted.subject}'", code=40905)


def changed(before: Association, wanted: Wanted, resource: Resource, *, update: bool) -> Association:
    after = msgspec.structs.replace(
        before,
        lifecycle=(wanted.lifecycle or before.lifecycle).upper(),
        frozen=before.frozen if wanted.frozen is None else wanted.frozen,
    )
    if split(before.subject).qualified != split(wanted.subject).qualified:
        if update:
            raise invalid("subject", "subject of association cannot be changed")
    elif after == before:
        return before
    if not update:
        text = f"An association of type '{wanted.type}' already exists for resource '{resource.id}'"
        raise Conflict(text, code=40903)
    if before.frozen:
        raise frozen(before)
    if after.frozen and after.lifecycle == WEAK:
        raise invalid("frozen", "association with lifecycle of WEAK cannot be frozen")
    return after


def validate(resource: Resource, wanted: Sequence[Wanted]) -> None:
    for property_, value in (
        ("resourceName", resource.name),
        ("resourceNamespace", resource.namespace),
        ("resourceId", resource.id),
        ("associations", wanted),
    ):
        if not value:
            raise invalid(property_, "cannot be null or empty")
        if isinstance(value, str) and (CONTROL.search(value) or len(value.encode(errors="replace")) > LONGEST_NAME):
            raise invalid(property_, f"must have no control characters, and at most {LONGEST_NAME} bytes")
    try:
        msgspec.json.encode([resource, *(each.subject for each in wanted)])
    except UnicodeEncodeError:
        raise invalid("associations", "is not valid Unicode: leave out lone surrogates") from None
    if resource.type != TOPIC:
        raise invalid("resourceType", f"must be '{TOPIC}'")
    if len({each.type for each in wanted}) != len(wanted):
        raise invalid("associationType", "each type can be given once")
    for each in wanted:
        if not each.subject:
            raise invalid("subject", "cannot be null or empty")
        if each.type not in TYPES:
            raise invalid("associationType", f"must be one of {', '.join(TYPES)}")
        if each.lifecycle is not None and each.lifecycle.upper() not in (WEAK, STRONG):
            raise invalid("lifecycle", "must be STRONG or WEAK")
        if each.frozen and (each.lifecycle or STRONG).upper() == WEAK:
            raise invalid("frozen", "association with lifecycle of WEAK cannot be frozen")


def dissociate(
    view: View,
    id: str,  # noqa: A002
    *,
    type: str | None = None,  # noqa: A002
    types: Sequence[str] = (),
    cascade: bool = False,
) -> tuple[Sequence[Change], list[Association]]:
    """What is gone; nothing is no failure. cascade: also the frozen ones; their subjects are deleted after this."""
    found = select(view.catalog, id=id, type=type, types=types)
    for each in found:
        if each.frozen and not cascade:
            raise frozen(each)
    return [RecordSet(kind=KIND, key=key_of(each), body=None) for each in found], found


def key_of(association: Association) -> str:
    return f"{association.resource_type}/{association.resource_id}/{association.association_type}"


def invalid(property_: str, reason: str) -> Invalid:
    text = f"The association specified an invalid value for property: '{property_}', reason: {reason}"
    return Invalid(text, code=42212)


def frozen(association: Association) -> Conflict:
    text = f"The association of type  '{association.association_type}' is frozen for subject '{association.subject}'"
    return Conflict(text, code=40908)


DECODER = msgspec.json.Decoder(Association)
