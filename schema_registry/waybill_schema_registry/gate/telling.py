"""What came of a check, told to people who have never met Avro's rules. Pure: lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from waybill_schema_registry.gate.rules import NAMES
from waybill_schema_registry.gate.verdict import Break, Verdict
from waybill_schema_registry.levels import Level

__all__ = ["ORDER", "headline", "promise", "sentence", "summary", "told"]

ORDER = {
    "any": "in any order: old and new read one another.",
    "consumers": "consumers first. Those with the new schema read the old messages; those with the old one cannot read the new.",
    "producers": "producers first. Consumers with the old schema read the new messages; those with the new one cannot read the old.",
    "nobody": "nobody can go first: neither schema reads what the other has written. Make it two changes, or a new topic.",
}
FLAGS = {"forbidden": "breaks", "warning": "warning", "allowed": "allowed"}
SENTENCES = {
    "READER_FIELD_MISSING_DEFAULT_VALUE": "they expect the field {message}, which is not in these messages, and have no default for it",
    "TYPE_MISMATCH": "they expect another type ({message})",
    "MISSING_ENUM_SYMBOLS": "they do not know the symbols {message}, and have no default for such",
    "MISSING_UNION_BRANCH": "their union has no place for a type that is in these messages ({message})",
    "NAME_MISMATCH": "they know the type by another name ({message})",
    "FIXED_SIZE_MISMATCH": "they expect another size ({message})",
}
"""Why readers cannot read, by rule; other rules say it themselves."""


def headline(verdict: Verdict) -> str:
    """One line for each contract."""
    forbidden = sum(one.grade == "forbidden" for one in verdict.breaks)
    if forbidden:
        return f"{verdict.subject}: {forbidden} break{'s' if forbidden > 1 else ''} at level {verdict.level}"
    if verdict.state in SAID:
        return f"{verdict.subject}: {SAID[verdict.state]}"
    against = verdict.against[0] + (f" to {verdict.against[-1]}" if len(verdict.against) > 1 else "")
    return f"{verdict.subject}: changed, and compatible with {against} at level {verdict.level}"


SAID = {
    "new": "new: nothing to break yet",
    "unchanged": "unchanged",
    "gone": "gone: nobody checks it any more. If it was renamed, its history ends here",
}


def told(verdict: Verdict, width: int) -> Iterator[str]:
    """All about one contract, below its headline."""
    if verdict.state == "changed":
        yield from _wrapped(str(verdict.source), width, "  ")
        if verdict.broken:
            yield from _wrapped(f"Level {verdict.level} promises: {promise(verdict.level)}", width, "  ")
    for one in verdict.breaks:
        if one.grade != "allowed":
            yield ""
            yield from _break(one, width, model=verdict.source.file.endswith(".py"))
    if verdict.state == "changed":
        if verdict.breaks:
            yield ""
        yield from _wrapped(f"Who must upgrade first: {ORDER[verdict.order]}", width, "  ")
    if allowed := sorted({one.rule for one in verdict.breaks if one.grade == "allowed"}):
        yield from _wrapped(f"Allowed by waybill.toml: {', '.join(allowed)}", width, "  ")
    if verdict.broken:
        rules = ", ".join(f'"{rule}"' for rule in sorted({o.rule for o in verdict.breaks if o.grade == "forbidden"}))
        yield from _wrapped("Meant so? Then say it in waybill.toml:", width, "  ")
        yield f'    [schema.subjects."{verdict.subject}"]'
        yield f"    allow = [{rules}]"


def promise(level: Level) -> str:
    """What a level promises, in a sentence."""
    which = "all earlier versions" if level.transitive else "the latest version"
    backward = f"consumers with the new schema read what {which} wrote"
    forward = f"consumers with {which} read what the new schema writes"
    if level is Level.NONE:
        return "nothing."
    return f"{' and '.join(part for part, wanted in ((backward, level.backward), (forward, level.forward)) if wanted)}."


def sentence(found: Break) -> str:
    """What will happen, and to whom."""
    versions = _listed(found.versions)
    why = SENTENCES.get(found.rule, "").format(message=found.message)
    if not why:
        return f"{found.message.rstrip('.')}. {NAMES.get(found.rule, '')}".strip()
    if found.direction == "backward":
        return f"Consumers with your change cannot read messages written with {versions}: {why}."
    return f"Consumers that still have {versions} cannot read messages written with your change: {why}."


def summary(verdicts: Sequence[Verdict], name: str) -> str:
    """The last line."""
    broken = sum(one.broken for one in verdicts)
    checked = sum(one.state != "gone" for one in verdicts)
    said = "1 contract" if checked == 1 else f"{checked} contracts"
    return f"{said} compared with {name}: {f'{broken} broken' if broken else 'none broken'}"


def _break(found: Break, width: int, *, model: bool) -> Iterator[str]:
    place = f" ({found.place})" if found.place else ""
    yield from _wrapped(f"{FLAGS[found.grade]}: {found.rule} at {found.location}{place}", width, "  ")
    yield from _wrapped(sentence(found), width, "    ")
    if found.evidence is not None:
        what = "is read as something else" if found.evidence.misread else "cannot be read"
        yield from _wrapped(
            f"For instance: {_short(found.evidence.datum)} {what}: {found.evidence.what_happened}", width, "    "
        )
    if found.advice:
        yield from _wrapped(f"What to do: {found.advice.rstrip('.')}.", width, "    ")
    if model and found.rule == "READER_FIELD_MISSING_DEFAULT_VALUE" and found.direction == "backward":
        yield from _wrapped(f"In the model: {found.field}: … | None = None", width, "    ")


def _listed(versions: Sequence[str]) -> str:
    if len(versions) == 1:
        return versions[0]
    return (
        f"{', '.join(versions[:-1])} and {versions[-1]}"
        if len(versions) < 5
        else f"{versions[0]} and {len(versions) - 1} more"
    )


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    plain = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return textwrap.wrap(plain, width, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False)
