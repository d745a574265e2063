"""The rules for dead letters: who owns them, how soon they are to be reviewed, how often redriven, how long remembered.

    [default]
    owner = "platform"
    service_level = "24h"

    ["orders.*"]                  # topics, by a pattern
    owner = "orders"

    ["orders.placed/billing"]     # one group
    redrive_limit = 1

Each setting is taken from the last table that fits, in the order of the file, and of `[default]` where none has it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec

from waybill.dlq.index import Index
from waybill.dlq.model import Query, State
from waybill.durations import spelled
from waybill.errors import LONGEST, ConfigurationError
from waybill.topology import matches

__all__ = ["Overdue", "Policy", "Rules", "overdue"]

DEFAULT = "default"
NOT_YET = frozenset({"auto", "actions", "auto_actions", "schedule"})
"""What a rule book may wish for and nobody here does."""
UNREVIEWED = frozenset({State.UNRESOLVED})


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Of one group's dead letters."""

    owner: str = ""
    """Who reviews them, for people."""
    service_level: timedelta = timedelta(hours=24)
    """How long a dead letter may wait for somebody to look at it."""
    redrive_limit: int = 3
    """Redrives after which only a person sends it once more, who says so (`--force`)."""
    retention: timedelta = timedelta(days=90)
    """How long the index remembers what is done with."""


class Overdue(msgspec.Struct, frozen=True, kw_only=True):
    """A group that has dead letters nobody has looked at in time."""

    topic: str
    group: str
    owner: str
    count: int
    oldest: datetime
    due: datetime
    """When the oldest was to be reviewed at the latest."""


class Policy:
    """The rule book. `Policy()` has the defaults for all."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]] | None = None, *, file: str = "the policy") -> None:
        """Raises `ConfigurationError` for what cannot be meant."""
        self._tables = {name: _table(name, table, file) for name, table in (tables or {}).items()}
        for name in self._tables:
            rules = _rules([self._tables.get(DEFAULT, {}), self._tables[name]])
            if rules.retention < rules.service_level:
                raise ConfigurationError(
                    f"{file}: [{name}] retention: what nobody has reviewed would be forgotten before it is due "
                    f"({rules.retention} is shorter than service_level, {rules.service_level})"
                )

    @classmethod
    def read(cls, path: str | Path) -> Policy:
        """Of a file in TOML. Raises `ConfigurationError`."""
        try:
            tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigurationError(f"{path} (dlq_policy) cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ConfigurationError(f"{path} (dlq_policy) is not TOML: {error}") from error
        return cls(tables, file=str(path))

    def of(self, topic: str, group: str) -> Rules:
        fitting = [table for name, table in self._tables.items() if _fits(name, topic, group)]
        return _rules([self._tables.get(DEFAULT, {}), *fitting])


def overdue(index: Index, policy: Policy, now: datetime) -> list[Overdue]:
    """The groups with a dead letter that nobody has looked at within its service level, the longest overdue first."""
    found: list[Overdue] = []
    for topic, group in index.tally():
        rules = policy.of(topic, group)
        oldest = index.oldest(topic, group, UNREVIEWED)
        if oldest is None or oldest + rules.service_level >= now:
            continue
        late = Query(topic=topic, group=group, states=UNREVIEWED, before=now - rules.service_level)
        found.append(
            Overdue(
                topic=topic,
                group=group,
                owner=rules.owner,
                count=index.count(late),
                oldest=oldest,
                due=oldest + rules.service_level,
            )
        )
    return sorted(found, key=lambda each: each.due)


def _fits(name: str, topic: str, group: str) -> bool:
    if name == DEFAULT:
        return False
    pattern, _, consumers = name.partition("/")
    return matches(pattern, topic) and consumers in {"", group}


def _rules(tables: list[Mapping[str, Any]]) -> Rules:
    return Rules(**{name: value for table in tables for name, value in table.items()})


def _table(name: str, given: object, file: str) -> Mapping[str, Any]:
    where = f"{file}: [{name}]"
    if not isinstance(given, Mapping):
        raise ConfigurationError(f'{file}: {name}: a setting stands in a table: [default], or ["topic/group"]')
    settings = dict(cast("Mapping[str, Any]", given))
    if wished := NOT_YET & settings.keys():
        raise ConfigurationError(
            f"{where} {', '.join(sorted(wished))}: nothing is done by itself yet: take it out, and redrive by hand or by a job"
        )
    known = Rules.__struct_fields__
    if unknown := settings.keys() - set(known):
        raise ConfigurationError(f"{where} {', '.join(sorted(unknown))}: unknown. Known are: {', '.join(known)}")
    for setting in ("service_level", "retention"):
        if setting in settings:
            settings[setting] = _duration(settings[setting], f"{where} {setting}")
    try:
        msgspec.convert(settings, Rules, builtin_types=(timedelta,))
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    if settings.get("redrive_limit", 0) < 0:
        raise ConfigurationError(f"{where} redrive_limit: at least 0")
    return settings


def _duration(value: object, what: str) -> timedelta:
    found = spelled(value) if isinstance(value, str) else None
    if not found:
        raise ConfigurationError(f'{what} = {value!r}: write a number and a unit: "90s", "5m", "24h" or "14d"')
    if found.total_seconds() > LONGEST:
        raise ConfigurationError(f"{what} = {value!r}: a century is the most")
    return found
