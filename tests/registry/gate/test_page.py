"""docs/schema-gate.md says what the gate says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.docs.test_documents import ROOT, blocks
from tests.registry.gate.calling import COMMAND, call, commit, git
from waybill_schema_registry.formats.avro.strictness import RULES
from waybill_schema_registry.gate.rules import NAMES
from waybill_schema_registry.gate.table import load_table

PAGE = ROOT / "docs" / "schema-gate.md"


def test_the_example_comes_true(here: Path) -> None:
    service, change = blocks(PAGE, "python")
    commit({"service.py": service}, here)
    git(here, "update-ref", "refs/remotes/origin/main", "HEAD")
    old = re.compile(r"class OrderPlaced.*?\n\n\n", re.DOTALL)
    (here / "service.py").write_text(old.sub(change + "\n\n", service))
    command, _, shown = blocks(PAGE, "")[0].partition("\n\n")
    words = shlex.split(command.removeprefix("$ waybill schema "))
    commit_id = git(here, "rev-parse", "--short=9", "HEAD").strip()
    done = call(*words)
    assert done.code == 1
    assert done.words == " ".join(shown.replace("0158c3ac4", commit_id).split())


def test_the_settings_can_be_read(here: Path) -> None:
    (text,) = blocks(PAGE, "toml")
    (here / "waybill.toml").write_text(text)
    table = load_table()
    assert table.subjects_of_files() == {"schemas/price.avsc": "prices.changed-value"}
    assert table.policy_of("orders.placed-value").forbid == {"DECIMAL_SCALE_CHANGED", "UNIT_CHANGED", "FIELD_REMOVED"}


def test_every_rule_is_there() -> None:
    listed = re.findall(r"^\| `([A-Z_]+)` \| (.*) \| (forbidden|a warning|nothing) \|$", PAGE.read_text(), re.MULTILINE)
    assert [(name, meaning) for name, meaning, _ in listed] == [
        (name, text.rstrip(".")) for name, text in NAMES.items()
    ]
    assert {name: said == "a warning" for name, _, said in listed if name in RULES} == {
        name: rule.warns for name, rule in RULES.items()
    }


@pytest.mark.parametrize(
    "line", [line for text in blocks(PAGE, "yaml") for line in text.splitlines() if "waybill schema" in line]
)
def test_the_recipe_uses_what_there_is(line: str) -> None:
    verb, *arguments = shlex.split(line.partition("waybill schema ")[2].replace("${{ github.base_ref }}", "main"))
    command = COMMAND.commands[verb]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= known
