"""Associations: which subjects a resource, that is a topic, takes for its keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from waybill_schema_registry.engine.associating import TOPIC, Association, Resource, Wanted
from waybill_schema_registry.errors import Invalid, NotFound, RegistryError
from waybill_schema_registry.server.answers import Answer
from waybill_schema_registry.server.asking import Ask, qualified
from waybill_schema_registry.server.failures import Failure, failed
from waybill_schema_registry.server.rights import Right
from waybill_schema_registry.server.shapes import SchemaBody

__all__ = [
    "Associated",
    "AssociationBody",
    "BatchAnswer",
    "Changes",
    "Questions",
    "associate",
    "associations_of_name",
    "associations_of_resource",
    "associations_of_subject",
    "change_associations",
    "dissociate",
    "get_associations",
    "update_associations",
]

T = TypeVar("T")

MULTI_STATUS = 207
CREATE, UPSERT, DELETE = "CREATE", "UPSERT", "DELETE"


class AssociationWanted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """subject: by default `:.namespace:name-type`."""

    subject: str | None = None
    association_type: str | None = None
    lifecycle: str | None = None
    frozen: bool | None = None
    schema: SchemaBody | None = None
    normalize: bool | None = None
    op_type: str | None = None


class AssociationBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A resource, and the subjects that it is to have."""

    resource_name: str | None = None
    resource_namespace: str | None = None
    resource_id: str | None = None
    resource_type: str | None = None
    associations: list[AssociationWanted] | None = None


class AssociationInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    subject: str
    association_type: str
    lifecycle: str
    frozen: bool = False


class Associated(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A resource, and the subjects that it has."""

    resource_name: str | None = None
    resource_namespace: str | None = None
    resource_id: str | None = None
    resource_type: str | None = None
    associations: list[AssociationInfo] | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A resource by its id, or by its name and namespace."""

    resource_name: str | None = None
    resource_namespace: str | None = None
    resource_id: str | None = None
    resource_type: str | None = None
    association_types: list[str] | None = None
    lifecycle: str | None = None


class Questions(msgspec.Struct, frozen=True):
    requests: list[Question] | None = None


class Changes(msgspec.Struct, frozen=True):
    """opType of each association: CREATE, UPSERT or DELETE."""

    requests: list[AssociationBody] | None = None


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    error: Failure | None = None
    result: Associated | None = None


class BatchAnswer(msgspec.Struct, frozen=True):
    """One result for each request, in order."""

    results: list[Result]


async def associations_of_subject(ask: Ask) -> list[Association]:
    return await _listed(ask, subject=ask.subject)


async def associations_of_resource(ask: Ask) -> list[Association]:
    return await _listed(ask, id=ask.path["resource"])


async def associations_of_name(ask: Ask) -> list[Association]:
    return await _listed(ask, name=ask.path["name"], namespace=ask.path["namespace"])


async def associate(ask: Ask) -> Associated:
    return await _associate(ask, ask.read(AssociationBody), update=False)


async def update_associations(ask: Ask) -> Associated:
    body = ask.read(AssociationBody)
    given = ask.path.get("resource")
    if given is not None and body.resource_id not in (None, given):
        raise _invalid("resourceId", "the one of the path is not the one of the body")
    return await _associate(ask, msgspec.structs.replace(body, resource_id=body.resource_id or given), update=True)


async def dissociate(ask: Ask) -> Answer:
    types = ask.texts("associationType")
    type_ = ask.text("resourceType") or TOPIC
    found = await ask.engine.associations(id=ask.path["resource"], type=type_, types=types)
    if not found:
        raise NotFound(f"Association for '{ask.path['resource']}' not found.", code=40410)
    _demand(ask, found)
    if not ask.flag("dryRun"):
        await ask.engine.dissociate(ask.path["resource"], type=type_, types=types, cascade=ask.flag("cascadeLifecycle"))
    return Answer(204, b"")


async def get_associations(ask: Ask) -> Answer:
    """Of many resources at once."""
    results: list[Result] = []
    for one in _some(ask.read(Questions).requests):
        found = await ask.engine.associations(
            id=one.resource_id,
            name=one.resource_name,
            namespace=one.resource_namespace,
            type=one.resource_type or TOPIC,
            types=one.association_types or (),
            lifecycle=one.lifecycle,
        )
        results.append(Result(result=_associated(_readable(ask, found))))
    return Answer(MULTI_STATUS, msgspec.json.encode(BatchAnswer(results)))


async def change_associations(ask: Ask) -> Answer:
    """Of many resources, each by itself: what fails of one changes nothing of the others."""
    results = [await _change(ask, body) for body in _some(ask.read(Changes).requests)]
    return Answer(MULTI_STATUS, msgspec.json.encode(BatchAnswer(results)))


async def _change(ask: Ask, body: AssociationBody) -> Result:
    try:
        return Result(result=_resource_of(body, await _carried_out(ask, body)))
    except RegistryError as error:
        return Result(error=msgspec.json.decode(failed(error, "change_associations").body, type=Failure))


async def _carried_out(ask: Ask, body: AssociationBody) -> list[AssociationInfo]:
    wanted: dict[str, list[AssociationWanted]] = {CREATE: [], UPSERT: [], DELETE: []}
    for one in body.associations or ():
        if one.op_type not in wanted:
            raise _invalid("opType", f"must be one of {', '.join(wanted)}")
        wanted[one.op_type].append(one)
    if wanted[DELETE] and body.resource_id:
        types = [one.association_type or "value" for one in wanted[DELETE]]
        _demand(ask, await ask.engine.associations(id=body.resource_id, types=types))
        if not ask.flag("dryRun"):
            await ask.engine.dissociate(body.resource_id, types=types)
    done: list[AssociationInfo] = []
    for operation in (CREATE, UPSERT):
        if wanted[operation] or not body.associations:  # none at all is refused by the registry
            some = msgspec.structs.replace(body, associations=wanted[operation])
            done += (await _associate(ask, some, update=operation == UPSERT)).associations or ()
    return done


async def _associate(ask: Ask, body: AssociationBody, *, update: bool) -> Associated:
    resource = Resource(
        name=body.resource_name or "",
        namespace=body.resource_namespace or "",
        id=body.resource_id or "",
        type=body.resource_type or TOPIC,
    )
    wanted = [_wanted(ask, resource, one) for one in body.associations or ()]
    for one in wanted:
        ask.demand(Right.WRITE, one.subject)
        if one.schema is not None:
            ask.demand_references(one.schema, one.subject)
    if ask.flag("dryRun"):
        return _resource_of(body, [])
    made = await ask.engine.associate(resource, wanted, update=update)
    return _resource_of(body, list(map(_info, made)))


def _wanted(ask: Ask, resource: Resource, one: AssociationWanted) -> Wanted:
    type_ = one.association_type or "value"
    subject = one.subject if one.subject is not None else f":.{resource.namespace}:{resource.name}-{type_}"
    context = ask.context or ask.text("context") or ""
    return Wanted(
        subject=qualified(subject, context),
        type=type_,
        lifecycle=one.lifecycle,
        frozen=one.frozen,
        schema=None if one.schema is None else one.schema.as_schema(),
        normalize=one.normalize,
    )


async def _listed(
    ask: Ask,
    *,
    subject: str | None = None,
    id: str | None = None,  # noqa: A002
    name: str | None = None,
    namespace: str | None = None,
) -> list[Association]:
    found = await ask.engine.associations(
        subject=subject,
        id=id,
        name=name,
        namespace=namespace,
        type=ask.text("resourceType") or TOPIC,
        types=ask.texts("associationType"),
        lifecycle=ask.text("lifecycle"),
    )
    return _readable(ask, found)[ask.page()]


def _readable(ask: Ask, found: Sequence[Association]) -> list[Association]:
    return [one for one in found if ask.may_read(one.subject)]


def _demand(ask: Ask, found: Sequence[Association]) -> None:
    for one in found:
        ask.demand(Right.WRITE, one.subject)


def _associated(found: Sequence[Association]) -> Associated:
    if not found:
        return Associated()
    first = found[0]
    return Associated(
        resource_name=first.resource_name,
        resource_namespace=first.resource_namespace,
        resource_id=first.resource_id,
        resource_type=first.resource_type,
        associations=list(map(_info, found)),
    )


def _resource_of(body: AssociationBody, associations: list[AssociationInfo]) -> Associated:
    return Associated(
        resource_name=body.resource_name,
        resource_namespace=body.resource_namespace,
        resource_id=body.resource_id,
        resource_type=body.resource_type or TOPIC,
        associations=associations or None,
    )


def _info(one: Association) -> AssociationInfo:
    return AssociationInfo(
        subject=one.subject, association_type=one.association_type, lifecycle=one.lifecycle, frozen=one.frozen
    )


def _some(requests: list[T] | None) -> list[T]:
    if not requests:
        raise _invalid("requests", "cannot be null or empty")
    return requests


def _invalid(name: str, reason: str) -> Invalid:
    text = f"The association specified an invalid value for property: '{name}', reason: {reason}"
    return Invalid(text, code=42212)
