"""What a store has, as the records of a topic."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from graphlib import TopologicalSorter
from itertools import islice

import msgspec

from waybill_schema_registry.engine.catalog import Catalog
from waybill_schema_registry.engine.subjects import Name, qualified, split
from waybill_schema_registry.entities import Schema
from waybill_schema_registry.errors import NotFound, StoreError
from waybill_schema_registry.stores.store import Store, VersionSet
from waybill_schema_registry.transfer.importing import catalog_of
from waybill_schema_registry.transfer.records import Key, Record, SchemaValue

__all__ = ["export_records"]

AT_ONCE = 500
"""Texts that are asked for at once."""

Ident = tuple[str, int]


async def export_records(store: Store) -> AsyncGenerator[Record, None]:
    """Settings, then schemas, none before those that it refers to. Raises `NotFound` where there is nothing, `StoreError` where
    one was deleted for good meanwhile.

    Associations, and ids that stand for nothing any more, have no place in such a topic.
    """
    catalog = await catalog_of(store)
    if not (catalog.subjects or catalog.configs or catalog.modes):
        raise NotFound("the store is empty, and there is nothing to export: see whether --store names the right one")
    for record in _settings(catalog):
        yield record
    order = iter(TopologicalSorter(_needs(catalog)).static_order())
    while some := list(islice(order, AT_ONCE)):
        texts = await _texts(store, some)
        for ident in some:
            for row in _versions(catalog, ident):
                yield _schema(row, texts[ident])


async def _texts(store: Store, idents: list[Ident]) -> dict[Ident, Schema]:
    found: dict[Ident, Schema] = {}
    for context in dict.fromkeys(context for context, _ in idents):
        ids = [ident for where, ident in idents if where == context]
        found |= {(context, ident): schema for ident, schema in (await store.schemas(context, ids)).items()}
    if len(found) < len(idents):
        raise StoreError("schemas were deleted for good while they were exported: export again")
    return found


def _needs(catalog: Catalog) -> dict[Ident, list[Ident]]:
    """Which schemas each refers to; in the order of their ids, as far as nothing stands against it."""
    return {
        ident: [_referred(catalog, split(each.subject), each.version) for each in catalog.ids[ident].references]
        for ident in sorted(catalog.ids)
    }


def _referred(catalog: Catalog, name: Name, version: int) -> Ident:
    return name.context, catalog.subjects[name.qualified].versions[version].id


def _versions(catalog: Catalog, ident: Ident) -> Iterator[VersionSet]:
    for subject, number in sorted(catalog.ids[ident].places):
        yield catalog.subjects[subject].versions[number]


def _settings(catalog: Catalog) -> Iterator[Record]:
    for scope, config in sorted(catalog.configs.items()):
        value = msgspec.to_builtins(config)
        level = value.pop("compatibility", None)
        value = {"subject": scope or None} | ({} if level is None else {"compatibilityLevel": level}) | value
        yield Record(key=Key(keytype="CONFIG", subject=scope or None), value=value)
    for scope, mode in sorted(catalog.modes.items()):
        value = {"subject": scope or None, "mode": mode.value}
        yield Record(key=Key(keytype="MODE", subject=scope or None), value=value)


def _schema(row: VersionSet, schema: Schema) -> Record:
    subject = qualified(row.context, row.subject)
    value = SchemaValue(
        subject=subject,
        version=row.version,
        id=row.id,
        schema=schema.text,
        schema_type=schema.format,
        references=schema.references,
        metadata=schema.metadata,
        rule_set=schema.rules,
        deleted=row.deleted,
    )
    key = Key(keytype="SCHEMA", subject=subject, version=row.version, magic=1)
    found = msgspec.to_builtins(value)
    return Record(key=key, value=found | {"deleted": row.deleted}, at=row.at)
