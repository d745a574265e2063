"""Schemas by id and by GUID.

An id says nothing of subjects, so who may not read everything is asked for one of the subjects that it stands in.
"""

from __future__ import annotations

from collections import defaultdict

from waybill_schema_registry.engine.associating import Association
from waybill_schema_registry.entities import Version
from waybill_schema_registry.errors import NotFound
from waybill_schema_registry.server.aliases import aliased
from waybill_schema_registry.server.answers import Answer
from waybill_schema_registry.server.asking import Ask, qualified
from waybill_schema_registry.server.shapes import ContextId, Registered, SubjectVersion, shaped_by_id, shaped_in_list
from waybill_schema_registry.server.subjects import prefix_of, tags_in, text_in

__all__ = [
    "ids_of_guid",
    "list_schemas",
    "list_types",
    "place_of",
    "schema_by_guid",
    "schema_by_id",
    "schema_text",
    "subjects_of_id",
    "versions_of_id",
]

MOST = 1000
"""Schemas in one list, as Confluent's `schema.search.max.limit` has it."""


async def list_schemas(ask: Ask) -> list[Registered]:
    page = ask.page(MOST)
    listing = ask.engine.schemas(
        prefix_of(ask),
        aliases=ask.flag("aliases"),
        deleted=ask.flag("deleted"),
        latest_only=ask.flag("latestOnly"),
        rule_type=ask.text("ruleType"),
        offset=page.start if ask.user.reads_all else 0,
        limit=page.stop - page.start if ask.user.reads_all else -1,
    )
    readable = [one for one in await listing if ask.may_read(one.version.subject)]
    associations = await _associations(ask)
    found = readable if ask.user.reads_all else readable[page]
    return [shaped_in_list(one, associations[one.version.subject]) for one in found]


async def _associations(ask: Ask) -> defaultdict[str, list[Association]]:
    """By subject, where they are asked for."""
    by_subject: defaultdict[str, list[Association]] = defaultdict(list)
    type_, types, lifecycle = ask.text("resourceType"), ask.texts("associationType"), ask.text("lifecycle")
    if type_ or types or lifecycle:
        for one in await ask.engine.associations(type=type_, types=types, lifecycle=lifecycle):
            by_subject[one.subject].append(one)
    return by_subject


async def schema_by_id(ask: Ask) -> Registered:
    found = await _by_id(ask)
    highest = await ask.engine.max_id(await _place(ask)) if ask.flag("fetchMaxId") else None
    return shaped_by_id(found, await text_in(ask, found), tags_in(ask, found), highest)


async def schema_text(ask: Ask) -> Answer:
    found = await _by_id(ask)
    return Answer(200, (await text_in(ask, found)).encode())


async def subjects_of_id(ask: Ask) -> list[str]:
    found = await ask.engine.subjects_of(ask.id, subject=await _place(ask), deleted=ask.flag("deleted"))
    return [subject for subject in found if ask.may_read(subject)][ask.page()]


async def versions_of_id(ask: Ask) -> list[SubjectVersion]:
    found = await ask.engine.versions_of(ask.id, subject=await _place(ask), deleted=ask.flag("deleted"))
    return [SubjectVersion(subject, version) for subject, version in found if ask.may_read(subject)][ask.page()]


async def schema_by_guid(ask: Ask) -> Registered:
    found = await ask.engine.schema_by_guid(ask.path["guid"])
    if not ask.user.reads_all:
        await _readable_somewhere(ask, found.guid)
    return shaped_by_id(found, await text_in(ask, found))


async def ids_of_guid(ask: Ask) -> list[ContextId]:
    found = await ask.engine.ids_of(ask.path["guid"])
    if not ask.user.reads_all:
        await _readable_somewhere(ask, ask.path["guid"])
    return [ContextId(context, id_) for context, id_ in found]


async def list_types(ask: Ask) -> list[str]:
    return ask.engine.types()


async def _by_id(ask: Ask) -> Version:
    found = await ask.engine.schema(ask.id, subject=await _place(ask))
    if not ask.user.reads_all:
        subjects = await ask.engine.subjects_of(ask.id, subject=await _place(ask), deleted=True)
        if not any(map(ask.may_read, subjects)):
            raise NotFound(f"Schema {ask.id} not found")
    return found


async def _readable_somewhere(ask: Ask, guid: str) -> None:
    for context, id_ in await ask.engine.ids_of(guid):
        place = None if context == "." else f":{context}:"
        if any(map(ask.may_read, await ask.engine.subjects_of(id_, subject=place, deleted=True))):
            return
    raise NotFound(f"Schema {guid} not found")


def place_of(ask: Ask) -> str | None:
    """The subject or context to search in, as it was given."""
    given = ask.text("subject")
    return ask.context or None if given is None else qualified(given, ask.context)


async def _place(ask: Ask) -> str | None:
    """The one that is meant."""
    place = place_of(ask)
    return place and await aliased(ask.engine, place)
