"""The registry itself: every operation of the REST API as a method, over any store.

async with Engine(MemoryStore()) as engine:
    made = await engine.register("orders-value", Schema(text='{"type": "string"}'))

Subjects may name their context (`:.context:subject`). Reads see all that was committed before they began, by whichever
server. Writes are durable when they have returned. Every method may raise `StoreError`; what else it raises is said there.
A config's `alias` is kept here, and followed by the server's paths, as in Confluent's `AliasFilter`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Literal, Self, TypeVar

from waybill_schema_registry.engine import answering, associating, deleting, registering, settings
from waybill_schema_registry.engine.answering import Listed
from waybill_schema_registry.engine.associating import Association, Resource, Wanted
from waybill_schema_registry.engine.catalog import Catalog, Draft
from waybill_schema_registry.engine.following import Follower
from waybill_schema_registry.engine.library import Library, Needed, TextKey
from waybill_schema_registry.engine.limits import Limits
from waybill_schema_registry.engine.registering import Registration
from waybill_schema_registry.engine.subjects import split
from waybill_schema_registry.engine.verdict import Compatibility
from waybill_schema_registry.engine.view import View
from waybill_schema_registry.engine.writing import Decide, Writer
from waybill_schema_registry.entities import Config, Mode, Schema, Version
from waybill_schema_registry.errors import InvalidSchema, NotFound, StoreError
from waybill_schema_registry.formats.avro import AvroFormat
from waybill_schema_registry.formats.format import Format
from waybill_schema_registry.levels import Level
from waybill_schema_registry.stores.store import Store

__all__ = ["Association", "Compatibility", "Engine", "Limits", "Listed", "Resource", "Wanted"]

Answer = TypeVar("Answer")


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Engine:
    """One registry. It belongs to the event loop that opened it; several engines may share one store's data."""

    def __init__(
        self,
        store: Store,
        *,
        formats: Sequence[Format] | None = None,
        level: Level = Level.BACKWARD,
        limits: Limits | None = None,
        clock: Callable[[], int] = now,
    ) -> None:
        """formats: Avro alone, if not given. level: of all that has none of its own. clock: milliseconds since 1970."""
        self._store = store
        self._level = level
        self._limits = limits or Limits()
        self._clock = clock
        self._library = Library([AvroFormat()] if formats is None else formats, self._limits)
        self._follower = Follower(store)
        self._writer = Writer(store, self._follower, self._view, self._keep)
        self._open = False

    async def open(self) -> None:
        """Open the store, and learn all that stands in it."""
        await self._store.open()
        self._open = True
        try:
            await self._follower.refresh()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what is being written, and close the store. Twice is the same as once."""
        if not self._open:
            return
        self._open = False
        await self._writer.end()
        await self._follower.end()
        await self._store.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # What lets a server answer from bytes it has kept.

    async def refresh(self) -> None:
        """Learn what others have committed. Every read does so by itself. It costs next to nothing where the store tells
        its revision without waiting."""
        await self._follower.refresh()

    def stamp(self, subject: str) -> object | None:
        """What all answers about this subject depend on (its versions, configs, modes, as of the last `refresh`): equal
        stamps, equal answers to register-again, lookup and latest, save where the request has references, which may mean the
        latest of other subjects. None: keep no answer about it."""
        catalog = self._follower.catalog
        found = catalog.subjects.get(split(subject).qualified)
        return None if found is None else (catalog.serial, found.changed, catalog.settled)

    @property
    def serial(self) -> int:
        """Another one where the store was put back to an older state, and ids may stand for something else."""
        return self._follower.catalog.serial

    def stands(self, id: int, subject: str | None = None) -> bool:  # noqa: A002 - as the API names it
        """Whether this id stands for a schema in the subject's context, as of the last `refresh`. What it stands for never
        changes while it stands."""
        return answering.stands(self._now(), id, subject)

    # Subjects and versions.

    async def register(
        self,
        subject: str,
        schema: Schema,
        *,
        normalize: bool | None = None,
        version: int = 0,
        id: int | None = None,  # noqa: A002
        force: bool = False,
    ) -> Version:
        """A new version, or the one that has this schema already.

        An empty text is the latest one's, with new metadata or rules. normalize: None is as the config says. version: 0 the
        next, -1 the next with its number in the metadata, else it must be the next, save in IMPORT. id: in IMPORT or
        FORWARD only. force: check nothing. Raises `Incompatible`, `InvalidSchema`, `Invalid` (42205 by its mode, 42207, 42208,
        42209, 42210).
        """
        asked = Registration(
            subject=subject,
            schema=schema,
            normalize=normalize,
            version=version,
            id=-1 if id is None else id,
            force=force,
            at=self._clock(),
        )
        known = await self._ask(partial(registering.already, asked=asked))
        if known is not None:
            return known
        return await self._write(partial(registering.register, asked=asked))

    async def lookup(
        self, subject: str, schema: Schema, *, normalize: bool | None = None, deleted: bool = False
    ) -> Version:
        """The version of this subject that has this schema. Raises `NotFound` (40401, 40403), `InvalidSchema`."""
        return await self._ask(
            lambda view: answering.lookup(view, subject, schema, normalize=normalize, deleted=deleted)
        )

    async def version(self, subject: str, version: int | Literal["latest"], *, deleted: bool = False) -> Version:
        """-1 and "latest" are the same. Raises `NotFound` (40401, 40402), `Invalid` (42202)."""
        return await self._ask(lambda view: answering.version(view, subject, version, deleted=deleted))

    async def versions(self, subject: str, *, deleted: bool = False, deleted_only: bool = False) -> list[Version]:
        """Ascending; their schemas have no text. Raises `NotFound` (40401)."""
        return await self._ask(
            lambda view: answering.versions(view, subject, deleted=deleted, deleted_only=deleted_only)
        )

    async def subjects(self, prefix: str = ":*:", *, deleted: bool = False, deleted_only: bool = False) -> list[str]:
        """Qualified names, sorted. prefix: of a name in the default context, `:.context:name`, or `:*:name` for all."""
        return await self._ask(
            lambda view: answering.subjects(view, prefix, deleted=deleted, deleted_only=deleted_only)
        )

    async def latest_with_metadata(self, subject: str, pairs: Mapping[str, str], *, deleted: bool = False) -> Version:
        """The newest version whose metadata's properties have all pairs. Raises `NotFound` (40401, 40403)."""
        return await self._ask(lambda view: answering.latest_with_metadata(view, subject, pairs, deleted=deleted))

    async def delete_subject(self, subject: str, *, permanent: bool = False) -> list[int]:
        """Softly, or permanently what is softly deleted. Raises `NotFound` (40401, 40404, 40405), `Invalid` (42205, 42206),
        `Conflict` (40904)."""
        return await self._write(lambda view: deleting.delete_subject(view, subject, permanent=permanent))

    async def delete_version(self, subject: str, version: int | Literal["latest"], *, permanent: bool = False) -> int:
        """The number that was deleted. Raises `NotFound` (40401, 40402, 40406, 40407), `Invalid` (42202, 42205, 42206)."""
        return await self._write(lambda view: deleting.delete_version(view, subject, version, permanent=permanent))

    # Schemas by id and GUID.

    async def schema(self, id: int, *, subject: str | None = None) -> Version:  # noqa: A002
        """What an id stands for. subject: a subject or a context to search it in; without it, the default context. The
        version's subject is empty and its number 0 where no subject was asked for. Raises `NotFound` (40403)."""
        return await self._ask(lambda view: answering.by_id(view, id, subject))

    async def schema_by_guid(self, guid: str) -> Version:
        """In whichever context. Raises `NotFound` (40403)."""
        return await self._ask(lambda view: answering.by_guid(view, guid))

    async def ids_of(self, guid: str) -> list[tuple[str, int]]:
        """Where a GUID stands: pairs of context (`.` the default) and id. Raises `NotFound` (40403)."""
        return await self._ask(lambda view: answering.ids_of(view, guid))

    async def subjects_of(self, id: int, *, subject: str | None = None, deleted: bool = False) -> list[str]:  # noqa: A002
        """Raises `NotFound` (40403)."""
        found = await self.versions_of(id, subject=subject, deleted=deleted)
        return list(dict.fromkeys(name for name, _ in found))

    async def versions_of(
        self,
        id: int,  # noqa: A002
        *,
        subject: str | None = None,
        deleted: bool = False,
    ) -> list[tuple[str, int]]:
        """Pairs of subject and version. Raises `NotFound` (40403)."""
        return await self._ask(lambda view: answering.versions_of(view, id, subject, deleted=deleted))

    async def referenced_by(
        self, subject: str, version: int | Literal["latest"], *, deleted: bool = False
    ) -> list[int]:
        """Ids of the schemas that refer to it, sorted. Raises `NotFound` (40401, 40402), `Invalid` (42202)."""
        return await self._ask(lambda view: answering.referenced_by(view, subject, version, deleted=deleted))

    async def schemas(
        self,
        prefix: str = ":*:",
        *,
        aliases: bool = False,
        deleted: bool = False,
        latest_only: bool = False,
        rule_type: str | None = None,
        offset: int = 0,
        limit: int = 1000,
    ) -> list[Listed]:
        """Versions of all subjects with this prefix, by subject and version."""
        return await self._ask(
            lambda view: answering.schemas(
                view,
                prefix,
                aliases=aliases,
                deleted=deleted,
                latest_only=latest_only,
                rule_type=rule_type,
                offset=offset,
                limit=limit,
            )
        )

    async def max_id(self, subject: str | None = None) -> int:
        """The highest id given in the subject's context."""
        context = split(subject or "").context
        return await self._ask(lambda view: view.catalog.highest.get(context, 0))

    async def resolved(self, version: Version) -> str:
        """Its text with references put in (`format=resolved`). Raises `NotFound` (40403) if it is gone meanwhile."""
        return await self._ask(lambda view: answering.resolved(view, version))

    def types(self) -> list[str]:
        """The formats, as `schemaType` names them."""
        return list(self._library.formats)

    # Compatibility.

    async def compatible(
        self,
        subject: str,
        schema: Schema,
        version: int | Literal["latest"] | None = None,
        *,
        normalize: bool | None = None,
        verbose: bool = True,
    ) -> Compatibility:
        """Whether the schema may follow: one version, or None: the history, at the subject's level.

        A bad schema raises `InvalidSchema`, or with verbose is incompatible with a message. Raises `NotFound` (40402) for a
        numbered version that is not there; `latest` of an unknown subject is compatible.
        """
        try:
            return await self._ask(
                lambda view: answering.compatible(view, subject, schema, version, normalize=normalize)
            )
        except InvalidSchema as error:
            if not verbose:
                raise
            return Compatibility(compatible=False, messages=(str(error),))

    # Configs and modes. scope: None is global; a subject; or a context as `:.context:`.

    async def config(self, scope: str | None = None, *, default_to_global: bool = False) -> Config:
        """Of this scope itself, or merged with the wider ones. For None it is never empty. Raises `NotFound` (40408)."""
        return await self._ask(lambda view: settings.config(view, scope, default_to_global=default_to_global))

    async def set_config(self, config: Config, scope: str | None = None) -> Config:
        """Change what `config` names; the whole config of this scope. Raises `Invalid` (42205, 42208, 42210)."""
        return await self._write(lambda view: settings.set_config(view, scope, config))

    async def delete_config(self, scope: str | None = None) -> Config:
        """What it was. Raises `NotFound` (40401) where a subject has none, `Invalid` (42205)."""
        return await self._write(lambda view: settings.delete_config(view, scope))

    async def mode(self, scope: str | None = None, *, default_to_global: bool = False) -> Mode:
        """Raises `NotFound` (40409) where a subject has none of its own."""
        return await self._ask(lambda view: settings.mode(view, scope, default_to_global=default_to_global))

    async def set_mode(self, mode: Mode, scope: str | None = None, *, force: bool = False) -> Mode:
        """force: also where IMPORT is begun over live schemas. Raises `Invalid` (42204, 42205, 42208)."""
        return await self._write(lambda view: settings.set_mode(view, scope, mode, force=force))

    async def delete_mode(self, scope: str | None = None, *, recursive: bool = False) -> Mode:
        """What it was. recursive: those of the subjects in a context too. Raises `NotFound` (40401), `Invalid` (42205)."""
        return await self._write(lambda view: settings.delete_mode(view, scope, recursive=recursive))

    # Contexts.

    async def contexts(self, prefix: str = "") -> list[str]:
        """Sorted, `.` first."""
        return await self._ask(lambda view: answering.contexts(view, prefix))

    async def delete_context(self, context: str) -> None:
        """Raises `Invalid` (42211) if it has subjects."""
        await self._write(lambda view: deleting.delete_context(view, context))

    # Associations of resources (topics) with subjects.

    async def associations(
        self,
        *,
        subject: str | None = None,
        id: str | None = None,  # noqa: A002
        name: str | None = None,
        namespace: str | None = None,
        type: str | None = None,  # noqa: A002
        types: Sequence[str] = (),
        lifecycle: str | None = None,
    ) -> list[Association]:
        """Those that have all that is given. id, name, namespace, type: of the resource; `-` is any namespace. types:
        `key`, `value`."""
        return await self._ask(
            lambda view: associating.select(
                view.catalog,
                subject=subject,
                id=id,
                name=name,
                namespace=namespace,
                type=type,
                types=types,
                lifecycle=lifecycle,
            )
        )

    async def associate(
        self, resource: Resource, wanted: Sequence[Wanted], *, update: bool = False
    ) -> list[Association]:
        """Associate subjects with a resource, all or none, registering the schemas that come along. update: change what is
        there. Raises `Invalid` (42212), `Conflict` (40903 to 40908), and what `register` raises."""
        await self._ask(lambda view: associating.associate(view, resource, wanted, update=update))
        for each in wanted:
            if each.schema is not None:
                await self.register(each.subject, each.schema, normalize=each.normalize)
        return await self._write(lambda view: associating.associate(view, resource, wanted, update=update))

    async def dissociate(
        self,
        id: str,  # noqa: A002
        *,
        type: str | None = None,  # noqa: A002
        types: Sequence[str] = (),
        cascade: bool = False,
    ) -> list[Association]:
        """Take away a resource's associations; those that were there. cascade: frozen ones too, and with strong ones their
        subjects, softly. Raises `Conflict` (40908), and with cascade what `delete_subject` raises."""
        gone = await self._write(lambda view: associating.dissociate(view, id, type=type, types=types, cascade=cascade))
        for each in gone if cascade else ():
            if each.lifecycle == associating.STRONG:
                with suppress(NotFound):
                    await self.delete_subject(each.subject)
        return gone

    # How it is done: what stands there, and what is at hand of it.

    def _view(self, catalog: Catalog, at_hand: Mapping[TextKey, Schema]) -> View:
        return View(catalog, self._library, at_hand, level=self._level, limits=self._limits)

    def _now(self) -> View:
        return self._view(self._follower.catalog, {})

    def _keep(self, draft: Draft) -> None:
        for (context, id_), schema in draft.texts.items():
            kept = draft.ids.get((context, id_))
            if kept is not None:
                self._library.keep((context, id_, kept.guid), schema)

    async def _ask(self, question: Callable[[View], Answer]) -> Answer:
        at_hand: dict[TextKey, Schema] = {}
        await self._follower.refresh()
        while True:
            try:
                return question(self._view(self._follower.catalog, at_hand))
            except Needed as needed:
                await self._fetch(needed, at_hand)

    async def _write(self, decide: Decide[Answer]) -> Answer:
        at_hand: dict[TextKey, Schema] = {}
        while True:
            try:
                return await self._writer.write(decide, at_hand)
            except Needed as needed:
                await self._fetch(needed, at_hand)

    async def _fetch(self, needed: Needed, at_hand: dict[TextKey, Schema]) -> None:
        """Bring texts to hand, and learn what was committed meanwhile: what was erased then is not missed."""
        wanted: dict[str, set[int]] = {}
        for context, id_, _ in needed.keys:
            wanted.setdefault(context, set()).add(id_)
        found = {context: await self._store.schemas(context, sorted(ids)) for context, ids in wanted.items()}
        await self._follower.refresh()
        for key in needed.keys:
            context, id_, guid = key
            kept = self._follower.catalog.ids.get((context, id_))
            if kept is None or kept.guid != guid:
                continue
            schema = found[context].get(id_)
            if schema is None:
                raise StoreError(f"The store has lost the text of schema {id_} in context {context}: restore a backup")
            at_hand[key] = schema
            self._library.keep(key, schema)
