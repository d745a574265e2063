"""What a change may be found to do, by name: Avro's own incompatibilities, and the stricter rules for what Avro lets rot. And
which of these somebody allows or forbids."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from waybill.errors import ConfigurationError
from waybill_schema_registry.formats.avro.strictness import RULES
from waybill_schema_registry.formats.format import Difference

__all__ = ["BREAKS", "NAMES", "Grade", "Policy", "grade", "policy"]

BREAKS: Final[Mapping[str, str]] = {
    "NAME_MISMATCH": "A record, enum or fixed has another name, and no alias.",
    "FIXED_SIZE_MISMATCH": "A fixed has another size.",
    "MISSING_ENUM_SYMBOLS": "Symbols are written that the reader's enum does not have, and it has no default.",
    "READER_FIELD_MISSING_DEFAULT_VALUE": "The reader has a field that is not written, and no default for it.",
    "TYPE_MISMATCH": "A type is read as another one that it cannot become.",
    "MISSING_UNION_BRANCH": "A type is written that is not among those which the reader's union has.",
}
"""Avro Java's `SchemaIncompatibilityType`s. Who has the reader's schema cannot read: forbidden unless allowed."""
NAMES: Final[Mapping[str, str]] = {**BREAKS, **{rule.name: rule.meaning for rule in RULES.values()}}

Grade: TypeAlias = Literal["forbidden", "warning", "allowed"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Names of rules."""

    allow: frozenset[str] = frozenset()
    forbid: frozenset[str] = frozenset()

    def stricter(self) -> list[str]:
        """The rules beyond Avro's own that are worth looking at: those that warn, and those that are forbidden."""
        return [rule.name for rule in RULES.values() if rule.warns or rule.name in self.forbid]


def policy(allow: Iterable[str], forbid: Iterable[str], where: str) -> Policy:
    """Raises `ConfigurationError` for a rule that there is not, and for one that is both allowed and forbidden."""
    made = Policy(allow=frozenset(allow), forbid=frozenset(forbid))
    for name in sorted(made.allow | made.forbid):
        if name not in NAMES:
            near = difflib.get_close_matches(name.upper(), NAMES, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise ConfigurationError(f"{where}: there is no rule {name!r}. {hint}Rules are: {', '.join(NAMES)}")
    if both := made.allow & made.forbid:
        raise ConfigurationError(f"{where}: {', '.join(sorted(both))} is allowed and forbidden: choose")
    return made


def grade(found: Difference, chosen: Policy) -> Grade:
    """What has no name here, such as aliases that fit twice, cannot be allowed: it ends a comparison early."""
    if found.type in chosen.forbid:
        return "forbidden"
    if found.type in chosen.allow:
        return "allowed"
    return "warning" if found.type in RULES else "forbidden"
