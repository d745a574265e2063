"""Ours beside Avro Java's, on many schemas: what differs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.registry.oracle.java import Oracle
from waybill_schema_registry.compatibility import check
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.fingerprints import crc64
from waybill_schema_registry.formats.avro.parsing import parse

GIVEN_UP = ("Schema fields not set yet", "NumberFormatException")
"""It looks into a default before the fields of a record around it are known, and takes any text for a number."""


@dataclass
class Tally:
    """How many of what, and each difference with all that is needed to look into it."""

    counts: dict[str, int] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    texts: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    """One of both refused the schema, the other did not."""

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


def compare_pairs(oracle: Oracle, pairs: Iterable[tuple[Any, Any]], tally: Tally) -> None:
    """Verdicts, types, locations and messages of reader and writer, in order."""
    for question, theirs in oracle.answers({"reader": reader, "writer": writer} for reader, writer in pairs):
        tally.count("pairs")
        ours = checked(question["reader"], question["writer"])
        found = {**question, "ours": ours, "theirs": theirs}
        if gives_up(theirs):
            tally.count("pairs that Avro Java gives up on")
            continue
        if "refused" in ours or "refused" in theirs:
            tally.count("pairs that were refused")
            if ("refused" in ours) != ("refused" in theirs):
                tally.refusals.append(found)
            continue
        tally.count("compatible pairs" if theirs["compatible"] else "incompatible pairs")
        if ours["compatible"] != theirs["compatible"]:
            tally.verdicts.append(found)
        elif "failed" in theirs:
            tally.count("pairs that Avro Java fails to compare")
            if [one["message"] for one in ours["incompatibilities"]] != [theirs["failed"]]:
                tally.reports.append(found)
        elif ours["incompatibilities"] != theirs["incompatibilities"]:
            tally.reports.append(found)


def gives_up(theirs: dict[str, Any]) -> bool:
    return any(words in theirs.get("refused", "") for words in GIVEN_UP)


def checked(reader: Any, writer: Any) -> dict[str, Any]:
    try:
        report = check(reader, writer)
    except InvalidSchema as problem:
        return {"refused": str(problem)}
    found = [{"type": one.type, "location": one.location, "message": one.message} for one in report.incompatibilities]
    return {"compatible": report.compatible, "incompatibilities": found}


def compare_schemas(oracle: Oracle, schemas: Iterable[Any], tally: Tally) -> None:
    """As new ones: whether they are taken, and their texts and fingerprints."""
    for question, theirs in oracle.answers({"schema": schema, "strict": True} for schema in schemas):
        tally.count("schemas")
        ours = described(question["schema"])
        found = {**question, "ours": ours, "theirs": theirs}
        if gives_up(theirs):
            tally.count("schemas that Avro Java gives up on")
        elif "refused" in ours or "refused" in theirs:
            tally.count("schemas that were refused")
            if ("refused" in ours) != ("refused" in theirs):
                tally.refusals.append(found)
        elif ours != theirs:
            tally.texts.append(found)


def described(schema: Any) -> dict[str, Any]:
    try:
        parsed = parse(schema, strict=True)
    except InvalidSchema as problem:
        return {"refused": str(problem)}
    return {"text": parsed.text, "canonical": parsed.canonical, "crc64": f"{crc64(parsed.canonical):016x}"}
