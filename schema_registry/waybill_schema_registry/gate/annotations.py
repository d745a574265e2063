"""What came of a check, as annotations of GitHub Actions: they stand beside the lines of a pull request. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from waybill_schema_registry.gate.telling import ORDER, sentence
from waybill_schema_registry.gate.verdict import Break, Verdict

__all__ = ["annotated"]

KINDS = {"forbidden": "error", "warning": "warning", "allowed": "notice"}


def annotated(verdicts: Iterable[Verdict], folder: str = "") -> Iterator[str]:
    """One workflow command for each break. folder: of the files, from the root of the repository."""
    for verdict in verdicts:
        for found in verdict.breaks:
            yield _command(verdict, found, folder)


def _command(verdict: Verdict, found: Break, folder: str) -> str:
    properties = {"title": f"{verdict.subject}: {found.rule}"}
    if verdict.source.file:
        properties = {
            "file": posixpath.normpath(posixpath.join(folder, verdict.source.file)),
            "line": str(found.line or verdict.source.line),
            **properties,
        }
    order = f"Who must upgrade first: {ORDER[verdict.order]}"
    message = "\n".join(part for part in (sentence(found), found.advice, order) if part)
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{KINDS[found.grade]} {listed}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
