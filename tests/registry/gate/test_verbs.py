"""The verbs beside the check: register, compare, look, govern, generate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.registry.gate.calling import COMMAND, SERVICE, SUBJECT, call, commit, record
from waybill_schema_registry import Level, Schema, SyncRegistry

REGISTRY = "sqlite:///registry.db"


@pytest.fixture(autouse=True)
def named(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_REGISTRY", registry)


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_registering_twice_is_the_same_as_once(here: Path) -> None:
    (here / "service.py").write_text(SERVICE)
    assert rows(call("register", "--app", "service:app").out)[1:] == [[SUBJECT, "1", "1", "new"]]
    assert rows(call("register", "--app", "service:app").out)[1:] == [[SUBJECT, "1", "1", "unchanged"]]
    assert call("register", "--app", "service:app", "--json").json == [
        {"subject": SUBJECT, "version": 1, "id": 1, "state": "unchanged"}
    ]


def test_references_are_registered_before_those_who_use_them(here: Path) -> None:
    (here / "a.avsc").write_text(record("c:Customer"))
    (here / "b.avsc").write_text(record("name:string", name="Customer"))
    assert call("register", ".").code == 0
    with SyncRegistry(REGISTRY) as opened:
        (reference,) = opened.get_latest_version("a").schema.references
    assert (reference.subject, reference.version) == ("b", 1)
    (here / "b.avsc").write_text(record("name:string", "age:int=0", name="Customer"))
    assert call("register", ".").code == 0
    with SyncRegistry(REGISTRY) as opened:
        assert opened.get_latest_version("a").schema.references[0].version == 2


def test_one_break_keeps_all_from_being_registered(here: Path) -> None:
    (here / "a.avsc").write_text(record("id:string"))
    (here / "b.avsc").write_text(record("id:string", name="B"))
    assert call("register", ".").code == 0
    (here / "a.avsc").write_text(record("id:string", "n:int=0"))
    (here / "b.avsc").write_text(record("id:long", name="B"))
    done = call("register", ".")
    assert (done.code, "nothing was registered" in done.err, "TYPE_MISMATCH" in done.out) == (1, True, True)
    with SyncRegistry(REGISTRY) as opened:
        assert list(opened.get_versions("a")) == [1]


def test_what_the_registry_itself_refuses_keeps_all_from_being_registered(here: Path) -> None:
    (here / "a.avsc").write_text(record("id:string"))
    (here / "b.avsc").write_text(record("id:string", name="B"))
    assert call("register", ".").code == 0
    (here / "a.avsc").write_text(record("id:string", "n:int=0"))
    (here / "b.avsc").write_text(record("id:long", name="B"))
    (here / "waybill.toml").write_text('[schema]\nlevel = "NONE"\n')
    done = call("register", ".")
    assert (done.code, "the registry refuses it, whatever waybill.toml allows" in done.err) == (1, True)
    with SyncRegistry(REGISTRY) as opened:
        assert list(opened.get_versions("a")) == [1]
        opened.set_compatibility(Level.NONE, "b")
    assert call("register", ".").code == 0


def test_a_dry_run_registers_nothing(here: Path) -> None:
    (here / "a.avsc").write_text(record("id:string"))
    done = call("register", "a.avsc", "--dry-run")
    assert (done.code, rows(done.out)[1:], "dry run" in done.err) == (0, [["a", "", "", "new"]], True)
    assert call("list", "--json").json == []


def test_what_has_changed_is_shown_as_text(here: Path) -> None:
    commit({"a.avsc": record("id:string")}, here)
    assert call("diff", "a.avsc", "--against", "HEAD").out.startswith("no difference from HEAD (")
    (here / "a.avsc").write_text(record("id:string", "n:int=0"))
    done = call("diff", "a.avsc", "--against", "HEAD").out
    assert '+      "name": "n",' in done
    assert not [line for line in done.splitlines() if line.startswith("-  ")]
    assert call("diff", "a.avsc", "--json").json[0]["diff"][0] == "--- a (nothing)"


def filled() -> None:
    with SyncRegistry(REGISTRY) as opened:
        for fields in (["id:string"], ["id:string", "n:int=0"], ["id:string", "n:int=0", "m:int"]):
            opened.set_compatibility(Level.NONE)
            opened.register_schema("orders", Schema(text=record(*fields)))
        opened.register_schema("other", Schema(text='"string"'))


def test_subjects_are_listed() -> None:
    filled()
    assert rows(call("list").out) == [
        ["SUBJECT", "VERSIONS", "LATEST", "LEVEL"],
        ["orders", "3", "3", "NONE"],
        ["other", "1", "1", "NONE"],
    ]
    assert [one["subject"] for one in call("list", "--prefix", "ot", "--json").json] == ["other"]


def test_a_version_is_shown() -> None:
    filled()
    done = call("show", "orders", "--version", "2")
    head, _, text = done.out.partition("\n")
    assert (head, json.loads(text)) == ("orders version 2, id 2", json.loads(record("id:string", "n:int=0")))
    assert call("show", "other", "--raw").out == '"string"\n'
    assert call("show", "orders", "--json").json[0]["version"] == 3
    missing = call("show", "ordres")
    assert (missing.code, "waybill schema list" in missing.err) == (1, True)
    missing = call("show", "orders", "--version", "9")
    assert (missing.code, "waybill schema history" in missing.err) == (1, True)


def test_a_history_says_what_changed_and_what_it_kept() -> None:
    filled()
    assert [(row[0], row[3], row[4]) for row in rows(call("history", "orders").out)[1:]] == [
        ("1", "", ""),
        ("2", "FULL", "+Order.n"),
        ("3", "FORWARD", "+Order.m"),
    ]


def test_levels_are_shown_and_set() -> None:
    assert call("level").out == "the whole registry: BACKWARD\n"
    assert call("level", "full").out == "the whole registry: FULL\n"
    assert call("level", "orders", "FORWARD").out == "orders: FORWARD\n"
    assert call("level", "orders", "--unset").out == "orders: FULL\n"
    assert call("level", "orders", "--json").json == [{"subject": "orders", "level": "FULL"}]
    wrong = call("level", "orders", "FORWARDS")
    assert (wrong.code, "Levels are: NONE" in wrong.err) == (2, True)
    assert call("level", "orders", "NONE", "--unset").code == 2
    again = call("level", "orders", "--unset")
    assert (again.code, again.err) == (1, "error: orders has no level of its own: nothing is to be taken away\n")


def test_modes_are_shown_and_set() -> None:
    assert call("mode", "orders", "readonly").out == "orders: READONLY\n"
    assert call("mode", "orders").out == "orders: READONLY\n"
    assert call("mode", "orders", "--unset").out == "orders: READWRITE\n"
    assert "orders has no mode of its own" in call("mode", "orders", "--unset").err
    assert call("mode", "--unset").code == 2
    assert "Modes are: READWRITE" in call("mode", "orders", "off").err


def test_deleting_is_a_dry_run_at_first_and_takes_two_steps() -> None:
    filled()
    done = call("delete", "orders", "--version", "2")
    assert (done.code, done.out) == (0, "orders: version 2 would be deleted softly\n")
    assert "--yes" in done.err
    assert call("delete", "orders", "--version", "2", "--yes").out == "orders: version 2 deleted softly\n"
    assert call("delete", "orders", "--yes").out == "orders: version 1, version 3 deleted softly\n"
    assert [one["subject"] for one in call("list", "--json").json] == ["other"]
    done = call("delete", "orders", "--permanent", "--yes")
    assert done.out == "orders: version 1, version 2, version 3 deleted for good\n"
    assert call("delete", "orders", "--yes").code == 1


@pytest.mark.parametrize("yes", [[], ["--yes"]])
def test_a_dry_run_refuses_what_deleting_would(yes: list[str]) -> None:
    filled()
    assert call("delete", "orders", "--version", "9", *yes).code == 1
    assert call("delete", "nothing", *yes).code == 1
    assert call("delete", "orders", "--permanent", *yes).code != 0
    assert call("delete", "orders", "--version", "1", "--permanent", *yes).code != 0


def test_models_are_generated_from_files_and_subjects(here: Path) -> None:
    (here / "a.avsc").write_text(record("c:Customer"))
    (here / "b.avsc").write_text(record("name:string", name="Customer"))
    source = call("generate", ".").out
    assert source.index("class Customer(BaseModel)") < source.index("class Order(BaseModel)")
    assert call("register", ".").code == 0
    assert "class Customer(BaseModel)" in call("generate", "--subject", "a").out
    assert call("generate", ".", "--out", "models.py").code == 0
    assert (here / "models.py").read_text() == source
    again = call("generate", ".", "--out", "models.py")
    assert (again.code, "--force" in again.err) == (2, True)
    assert call("generate", ".", "--out", "models.py", "--force").code == 0
    assert call("generate").code == 2


def test_every_verb_has_help_with_an_example_and_exit_codes() -> None:
    for name, command in COMMAND.commands.items():  # type: ignore[attr-defined]
        assert command.help, name
        assert "Example: waybill schema" in command.epilog, name
        assert "Exit codes: 0" in command.epilog, name
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--json" in options or name == "generate", name
        shown = call(name, "--help")
        assert shown.code == 0
        for parameter in command.params:
            assert all(word in shown.words for word in str(getattr(parameter, "help", "")).split()), (name, parameter)
        assert "completion" not in shown.out, "of the whole program, not of a verb"
    assert "completion" not in call("--help").out
