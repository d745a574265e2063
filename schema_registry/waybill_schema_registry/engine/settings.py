"""Configs and modes are set and taken away (`ConfigResource`, `ModeResource`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from waybill_schema_registry.engine.catalog import Place, Subject
from waybill_schema_registry.engine.deleting import erased, writable
from waybill_schema_registry.engine.failures import invalid_mode, no_config, no_mode, no_subject
from waybill_schema_registry.engine.metadata import validate_rules
from waybill_schema_registry.engine.referring import referrers
from waybill_schema_registry.engine.scopes import config_in_scope, mode_in_scope
from waybill_schema_registry.engine.subjects import GLOBAL, checked, scope_of, split
from waybill_schema_registry.engine.view import View
from waybill_schema_registry.entities import Config, Mode
from waybill_schema_registry.errors import Invalid
from waybill_schema_registry.stores.store import Change, ConfigSet, ModeSet, VersionSet

__all__ = ["config", "delete_config", "delete_mode", "mode", "set_config", "set_mode"]

POLICIES = ("STRICT", "LENIENT", "LOGICAL")


def config(view: View, scope: str | None, *, default_to_global: bool) -> Config:
    name = split(scope_of(scope))
    own = view.catalog.configs.get(name.qualified)
    if default_to_global or (scope is None and own is not None):
        return config_in_scope(view.catalog, name, view.level)
    if scope is None:
        return Config(compatibility=view.level)
    if own is None:
        raise no_config(name.qualified)
    return own


def set_config(view: View, scope: str | None, wanted: Config) -> tuple[Sequence[Change], Config]:
    name = checked(scope_of(scope), longest=view.limits.subject, scope=True)
    validate_rules(wanted.default_rule_set)
    validate_rules(wanted.override_rule_set)
    if wanted.compatibility_policy is not None and wanted.compatibility_policy.upper() not in POLICIES:
        raise Invalid(f"Invalid compatibility policy. Valid values are {', '.join(POLICIES)}", code=42203)
    try:
        msgspec.json.encode(wanted)
    except UnicodeEncodeError:
        raise Invalid("The config is not valid Unicode: leave out lone surrogates", code=42203) from None
    writable(view, name)
    whole = wanted.over(view.catalog.configs.get(name.qualified, Config()))
    return [ConfigSet(scope=name.qualified, config=whole)], whole


def delete_config(view: View, scope: str | None) -> tuple[Sequence[Change], Config]:
    name = split(scope_of(scope))
    own = view.catalog.configs.get(name.qualified)
    if own is None:
        if scope is None:
            return (), Config(compatibility=view.level)
        raise no_subject(name.qualified)
    writable(view, name)
    return [ConfigSet(scope=name.qualified, config=None)], own


def mode(view: View, scope: str | None, *, default_to_global: bool) -> Mode:
    name = split(scope_of(scope))
    if scope is None or default_to_global:
        return mode_in_scope(view.catalog, name)
    own = view.catalog.modes.get(name.qualified)
    if own is None:
        raise no_mode(name.qualified)
    return own


def set_mode(view: View, scope: str | None, wanted: Mode, *, force: bool) -> tuple[Sequence[Change], Mode]:
    """IMPORT begins on empty ground: over nothing live, and what is softly deleted goes, unless it is forced."""
    name = checked(scope_of(scope), longest=view.limits.subject, scope=True)
    if wanted is Mode.FORWARD and name.qualified != GLOBAL:
        raise invalid_mode()
    changes: list[Change] = []
    if wanted is Mode.IMPORT and mode_in_scope(view.catalog, name) is not Mode.IMPORT and not force:
        changes.extend(cleared(view, reach(view, name.qualified)))
    return [*changes, ModeSet(scope=name.qualified, mode=wanted)], wanted


def reach(view: View, scope: str) -> list[Subject]:
    """The subjects that a scope holds: itself, a context's, or all."""
    name = split(scope)
    if name.subject:
        own = view.subject(name)
        return [own] if own else []
    everything = scope in ("", GLOBAL)
    return [each for each in view.catalog.subjects.values() if everything or each.context == name.context]


def cleared(view: View, subjects: Sequence[Subject]) -> list[Change]:
    if any(subject.latest is not None for subject in subjects):
        raise Invalid("Cannot import since found existing subjects", code=42205)
    rows = {(subject.qualified, row.version): row for subject in subjects for row in subject.versions.values()}
    while staying := still_needed(view, rows):
        for place in staying:
            del rows[place]
    return erased(view, rows.values())


def still_needed(view: View, rows: Mapping[Place, VersionSet]) -> list[Place]:
    """Those of the versions that a schema refers to which would stand without them: one that stays keeps what it needs."""
    ids = {(row.context, row.id) for row in rows.values()}
    going = {ident for ident in ids if rows.keys() >= set(view.catalog.ids[ident].places)}
    return [place for place, row in rows.items() if not referrers(view.catalog, row) <= going]


def delete_mode(view: View, scope: str | None, *, recursive: bool) -> tuple[Sequence[Change], Mode]:
    name = split(scope_of(scope))
    own = view.catalog.modes.get(name.qualified)
    if own is None and scope is not None:
        raise no_subject(name.qualified)
    scopes = [name.qualified] if own is not None else []
    if recursive and not name.subject:
        scopes.extend(each for each in view.catalog.modes if each != name.qualified and inside(each, name.qualified))
    return [ModeSet(scope=each, mode=None) for each in scopes], own or Mode.READWRITE


def inside(scope: str, outer: str) -> bool:
    return split(scope).scope == outer
