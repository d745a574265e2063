"""Who refers to a version."""

from __future__ import annotations

from waybill_schema_registry.engine.catalog import Catalog, Place
from waybill_schema_registry.engine.subjects import qualified
from waybill_schema_registry.stores.store import VersionSet

__all__ = ["live_referrers", "referrers"]


def referrers(catalog: Catalog, row: VersionSet) -> frozenset[Place]:
    """Contexts and ids of all schemas that need it, softly deleted ones too: they can be had back, or read by id."""
    return frozenset(catalog.referrers.get((qualified(row.context, row.subject), row.version), ()))


def live_referrers(catalog: Catalog, row: VersionSet, *, beside: str | None = None) -> list[Place]:
    """Those that stand as a version which is not deleted. beside: versions of this subject do not count."""
    return sorted(place for place in referrers(catalog, row) if lives(catalog, place, beside))


def lives(catalog: Catalog, place: Place, beside: str | None) -> bool:
    return any(
        name != beside and not catalog.subjects[name].versions[number].deleted
        for name, number in catalog.ids[place].places
    )
