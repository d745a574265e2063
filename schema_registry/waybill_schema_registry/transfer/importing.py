"""A dump into a store: checked wholly, then one commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from waybill_schema_registry.engine.catalog import Catalog
from waybill_schema_registry.entities import Schema
from waybill_schema_registry.errors import Invalid, StoreError
from waybill_schema_registry.stores.store import Change, ConfigSet, ModeSet, Moved, SchemaAdded, Store, VersionSet
from waybill_schema_registry.transfer.planning import Planned, plan
from waybill_schema_registry.transfer.replaying import Dump, read_dump

__all__ = ["Imported", "catalog_of", "import_dump"]

TIMES = 10
"""How often it is planned anew where others commit meanwhile."""
MOST_SAID = 20
READABLE = (
    "; a dump is the output of kafka-console-consumer with --property print.key=true, of kcat -J, or what `waybill registry export` "
    "writes"
)


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What was new. schemas, versions, settings: how many. left_out: records of kinds that mean nothing here."""

    schemas: int
    versions: int
    settings: int
    left_out: Mapping[str, int]


async def import_dump(store: Store, lines: Iterable[str], *, dry_run: bool = False) -> Imported:
    """Add what the lines of a dump stand for. Raises `Invalid`, with all that is wrong, before anything is written.

    What is there already stays as it is; where it says something else, that is wrong. dry_run: check, and write nothing.
    """
    dump = read_dump(lines)
    _demand(dump.wrong, READABLE)
    if not (any(dump.versions()) or dump.configs or dump.modes):
        raise Invalid("there is nothing to import: no line has a schema, a config or a mode")
    for _ in range(TIMES):
        catalog = await catalog_of(store)
        planned = plan(dump, catalog, await _texts(store, catalog, dump))
        _demand(planned.wrong)
        try:
            if planned.changes and not dry_run:
                await store.commit(catalog.revision, planned.changes)
        except Moved:
            continue
        return _told(planned, dump)
    raise StoreError(
        "others have written to the registry all the time: stop them, and import again. Nothing was imported"
    )


async def catalog_of(store: Store) -> Catalog:
    """All that a store has, without texts."""
    catalog = Catalog()
    async for revision, changes in store.changes(0):
        catalog.apply(revision, changes)
    return catalog


async def _texts(store: Store, catalog: Catalog, dump: Dump) -> dict[tuple[str, int], Schema]:
    """Of the schemas that are there already, where the dump may refer to them."""
    if not any(kept.value.references for _, _, kept in dump.versions()):
        return {}
    found: dict[tuple[str, int], Schema] = {}
    for context in {context for context, _ in catalog.ids}:
        ids = [ident for where, ident in catalog.ids if where == context]
        found |= {(context, ident): schema for ident, schema in (await store.schemas(context, ids)).items()}
    return found


def _demand(wrong: Sequence[str], hint: str = "") -> None:
    if not wrong:
        return
    more = len(wrong) - MOST_SAID
    said = [*wrong[:MOST_SAID], *([f"and {more} more"] if more > 0 else [])]
    raise Invalid(f"nothing was imported{hint}:\n" + "\n".join(f"- {line}" for line in said))


def _told(planned: Planned, dump: Dump) -> Imported:
    def count(kind: type[Change]) -> int:
        return sum(1 for change in planned.changes if isinstance(change, kind))

    schemas, versions, settings = count(SchemaAdded), count(VersionSet), count(ConfigSet) + count(ModeSet)
    return Imported(schemas=schemas, versions=versions, settings=settings, left_out=dict(dump.left_out))
