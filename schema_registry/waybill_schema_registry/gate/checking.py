"""The gate itself: all contracts against one baseline."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from waybill.errors import ConfigurationError
from waybill.settings import FILE
from waybill_schema_registry.gate.baseline import Baseline
from waybill_schema_registry.gate.contract import Contract, Source
from waybill_schema_registry.gate.judging import judge
from waybill_schema_registry.gate.table import SchemaTable
from waybill_schema_registry.gate.verdict import Verdict
from waybill_schema_registry.levels import Level

__all__ = ["check"]


async def check(
    contracts: Mapping[str, Contract],
    baseline: Baseline,
    table: SchemaTable,
    level: Level | None = None,
    *,
    whole: bool = True,
) -> list[Verdict]:
    """A verdict for each contract, by subject, and one for each that is gone. level: for all, stronger than what the table and
    the baseline say. whole: these are all contracts, so that each table of a subject must be of one of them; else only one that
    looks like a typing mistake is an error. Raises `ConfigurationError`, `InvalidSchema`, and what the baseline raises where it cannot be asked."""
    for subject in table.subjects:
        near = difflib.get_close_matches(subject, contracts.keys() - table.subjects.keys(), n=1, cutoff=0.8)
        if subject not in contracts and (whole or near):
            hint = f"Did you mean {near[0]}? " if near else ""
            known = ", ".join(sorted(contracts)) or "none"
            raise ConfigurationError(
                f'[schema.subjects."{subject}"] in {FILE}: no contract has that subject. {hint}Those found are: {known}'
            )
    gone = [subject for subject in await baseline.subjects() if subject not in contracts]
    found = [await _verdict(contracts[subject], baseline, table, level) for subject in sorted(contracts)]
    return [*found, *(_gone(subject, baseline, level) for subject in gone)]


async def _verdict(contract: Contract, baseline: Baseline, table: SchemaTable, level: Level | None) -> Verdict:
    contract.understood()  # before anybody is asked
    chosen = level or table.level_of(contract.subject) or await baseline.level(contract.subject)
    history = await baseline.versions(contract.subject, chosen)
    return judge(contract, history, chosen, table.policy_of(contract.subject))


def _gone(subject: str, baseline: Baseline, level: Level | None) -> Verdict:
    return Verdict(subject=subject, source=Source(what=baseline.name), state="gone", level=level or Level.BACKWARD)
