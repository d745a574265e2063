"""`waybill dlq`: its verbs, in the order in which somebody on call needs them."""

from __future__ import annotations

import typer

from waybill.cli.auditing import audit
from waybill.cli.collecting import collect
from waybill.cli.deadletters import list_, show
from waybill.cli.discarding import discard
from waybill.cli.editing import edit
from waybill.cli.exporting import export
from waybill.cli.grouping import groups
from waybill.cli.importing import import_
from waybill.cli.operations import cancel, operations, settle
from waybill.cli.redriving import redrive
from waybill.cli.reviewing import assign, reopen, resolve, triage
from waybill.cli.service_level import review

__all__ = ["verbs"]

verbs = typer.Typer()

ALL_OR_NOT = "Exit codes: 0 all of them, 1 not all, 2 wrong use."

for name, verb, examples in (
    ("collect", collect, ("waybill dlq collect", "waybill dlq collect --every 60")),
    ("groups", groups, ("waybill dlq groups --topic orders.placed",)),
    ("list", list_, ("waybill dlq list --topic orders.placed --reason rejected --limit 20",)),
    ("show", show, ("waybill dlq show 0b6b4c1e --raw > body.bin",)),
    ("triage", triage, ("waybill dlq triage --fingerprint 5d41a0 --owner anna --ticket OPS-12 --note 'bank down'",)),
    ("assign", assign, ("waybill dlq assign anna --topic orders.placed --all",)),
    ("redrive", redrive, ("waybill dlq redrive --fingerprint 5d41a0 --canary 5 --rate 50 --yes",
                          "waybill dlq redrive --resume 0b6b4c1e --yes", ALL_OR_NOT)),
    ("operations", operations, ("waybill dlq operations --ended",)),
    ("cancel", cancel, ("waybill dlq cancel 0b6b4c1e --why 'the bank is down again'",)),
    ("settle", settle, ("waybill dlq settle 0b6b4c1e --why 'the group has handled all of them'",)),
    ("edit", edit, ("waybill dlq edit 0b6b4c1e --data body.json --why 'a comma too many' --yes",)),
    ("discard", discard, ("waybill dlq discard --older-than 30d --reason-text 'too late' --yes", ALL_OR_NOT)),
    ("reopen", reopen, ("waybill dlq reopen 0b6b4c1e --note 'it was not the bank'",)),
    ("resolve", resolve, ("waybill dlq resolve 0b6b4c1e --note 'paid by hand'",)),
    ("export", export, ("waybill dlq export --topic orders.placed --to letters.jsonl", ALL_OR_NOT)),
    ("import", import_, ("waybill dlq import letters.jsonl --yes", ALL_OR_NOT)),
    ("review", review, ("waybill dlq review --fail-overdue", "Exit codes: 0 it is shown, 1 with --fail-overdue where something is overdue, 2 wrong use.")),
    ("audit", audit, ("waybill dlq audit --operation 0b6b4c1e",)),
):  # fmt: skip
    told = (line if line.startswith("Exit") else f"Example: {line}" for line in examples)
    verbs.command(name, epilog="\n\n".join(told))(verb)
