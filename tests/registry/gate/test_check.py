"""`waybill schema check`, as its users meet it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.registry.client.scripted import Answer, Request, scripted
from tests.registry.gate.calling import SERVICE, SUBJECT, Called, call, commit, git, record
from waybill_schema_registry import Level, Reference, Schema, SyncRegistry

BREAKING = SERVICE.replace("    cents: int\n", "    cents: int\n    vat: int\n")
REGISTRY = "sqlite:///registry.db"
TOLD = """
!! orders.placed-value: 1 break at level BACKWARD
service.py:8, OrderPlaced of topic orders.placed
Level BACKWARD promises: consumers with the new schema read what the latest version wrote.

breaks: READER_FIELD_MISSING_DEFAULT_VALUE at /fields/2 (field vat of OrderPlaced)
Consumers with your change cannot read messages written with version 1: they expect the field vat, which is not in
these messages, and have no default for it.
For instance: {"order_id":"a","cents":1} cannot be read: the reader cannot take it by its schema
(SchemaResolutionError)
What to do: Give the field vat of the reader a default, e.g. "default": null with a type that begins with "null"; or,
if it is a field of OrderPlaced by a new name, name the old one in its aliases.
In the model: vat: … | None = None

Who must upgrade first: producers first. Consumers with the old schema read the new messages; those with the new one
cannot read the old.
Meant so? Then say it in waybill.toml:
[schema.subjects."orders.placed-value"]
allow = ["READER_FIELD_MISSING_DEFAULT_VALUE"]

1 contract compared with the registry at sqlite:///registry.db: 1 broken
"""


@pytest.fixture
def released(here: Path) -> Path:
    """An application whose contracts are registered, and committed."""
    commit({"service.py": SERVICE, ".gitignore": "*.db*\n"}, here)
    assert call("register", "--app", "service:app", "--registry", REGISTRY).code == 0
    return here


def test_a_breaking_change_to_a_model_is_stopped_with_words_that_a_newcomer_understands(released: Path) -> None:
    (released / "service.py").write_text(BREAKING)
    done = call("check", "--app", "service:app", "--registry", REGISTRY)
    assert done.code == 1
    assert max(map(len, done.out.splitlines())) <= 80
    assert done.words == " ".join(TOLD.split())


def test_what_the_message_says_to_do_helps(released: Path) -> None:
    (released / "service.py").write_text(BREAKING.replace("vat: int", "vat: int | None = None"))
    done = call("check", "--app", "service:app", "--registry", REGISTRY)
    assert (done.code, "changed, and compatible with version 1 at level BACKWARD" in done.words) == (0, True)
    (released / "service.py").write_text(BREAKING)
    (released / "waybill.toml").write_text(
        '[schema.subjects."orders.placed-value"]\nallow = ["READER_FIELD_MISSING_DEFAULT_VALUE"]\n'
    )
    done = call("check", "--app", "service:app", "--registry", REGISTRY)
    assert (done.code, "Allowed by waybill.toml: READER_FIELD_MISSING_DEFAULT_VALUE" in done.words) == (0, True)


def test_what_a_stricter_rule_finds_is_told_in_sentences(here: Path) -> None:
    commit({"a.avsc": record("id:string", "n:int=0"), "waybill.toml": '[schema]\nforbid = ["FIELD_REMOVED"]\n'}, here)
    (here / "a.avsc").write_text(record("id:string"))
    done = call("check", "a.avsc", "--against", "HEAD")
    assert (done.code, "n is written and no longer read. A field is written" in done.words) == (1, True)


def test_models_are_compared_with_a_git_revision(released: Path) -> None:
    assert call("check", "--app", "service:app", "--against", "HEAD").code == 0
    (released / "service.py").write_text(BREAKING)
    done = call("check", "--app", "service:app", "--against", "main")
    assert done.code == 1
    assert f"messages written with main ({git(released, 'rev-parse', '--short=9', 'HEAD').strip()})" in done.words
    assert git(released, "status", "--porcelain") == " M service.py\n"
    assert len(git(released, "worktree", "list").splitlines()) == 1


def test_annotations_stand_beside_the_line_of_the_field(released: Path) -> None:
    (released / "service.py").write_text(BREAKING)
    done = call("check", "--app", "service:app", "--against", "HEAD", "--format", "github")
    assert done.code == 1
    first, *rest = done.out.splitlines()
    line = BREAKING.splitlines().index("    vat: int") + 1
    assert first.startswith(
        f"::error file=service.py,line={line},title={SUBJECT}%3A READER_FIELD_MISSING_DEFAULT_VALUE::"
    )
    assert "%0A" in first
    assert rest[0].startswith("!!")


def test_json_is_one_document(released: Path) -> None:
    (released / "service.py").write_text(BREAKING)
    done = call("check", "--app", "service:app", "--registry", REGISTRY, "--json")
    (verdict,) = done.json
    assert (done.code, verdict["subject"], verdict["broken"], verdict["order"]) == (1, SUBJECT, True, "producers")
    (one,) = verdict["breaks"]
    assert (one["rule"], one["versions"], one["field"]) == ("READER_FIELD_MISSING_DEFAULT_VALUE", ["version 1"], "vat")
    assert json.loads(one["evidence"]["datum"]).keys() == {"order_id", "cents"}


# Whom it compares with.


def test_a_subject_that_is_not_known_is_new_and_said_so(here: Path, registry: str) -> None:
    (here / "service.py").write_text(SERVICE)
    done = call("check", "--app", "service:app", "--registry", registry)
    assert (done.code, f"ok {SUBJECT}: new: nothing to break yet" in done.words) == (0, True)


def test_a_file_that_is_not_there_is_no_registry_without_subjects(here: Path) -> None:
    (here / "service.py").write_text(SERVICE)
    for verb in ("check", "diff"):
        done = call(verb, "--app", "service:app", "--registry", "sqlite:///regsitry.db")
        assert (done.code, "there is no file regsitry.db" in done.err) == (2, True)
    assert call("register", "--app", "service:app", "--registry", "sqlite:///regsitry.db", "--dry-run").code == 2
    assert not Path("regsitry.db").exists()


def test_a_registry_that_is_away_is_no_registry_without_subjects(here: Path) -> None:
    (here / "service.py").write_text(SERVICE)
    done = call("check", "--app", "service:app", "--registry", "http://user:s3/cr3t@127.0.0.1:1")
    assert done.code == 1
    assert "the registry at http://127.0.0.1:1 cannot be reached" in done.err
    assert "cr3t" not in done.words


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(401, '{"error_code": 401, "message": "Unauthorized"}'), "check WAYBILL_REGISTRY_USER and _PASSWORD"),
        (Answer(404, "<html>no such page</html>"), "answers, but not as a registry does"),
        (Answer(500, "<html>oh</html>"), "cannot answer now (500)"),
    ],
)
async def test_what_goes_wrong_with_a_registry_is_told_at_once(here: Path, answer: Answer, said: str) -> None:
    (here / "service.py").write_text(SERVICE)
    async with scripted(lambda _: answer) as server:
        done = await asyncio.to_thread(call, "check", "--app", "service:app", "--registry", server.url)
    assert (done.code, said in done.err) == (1, True), done


def test_the_registry_says_the_level_and_others_may_say_another(released: Path) -> None:
    (released / "service.py").write_text(BREAKING)
    check = ("check", "--app", "service:app", "--registry", REGISTRY)
    with SyncRegistry(REGISTRY) as registry:
        registry.set_compatibility(Level.FORWARD, SUBJECT)
    assert call(*check).code == 0
    (released / "waybill.toml").write_text('[schema]\nlevel = "full"\n')
    assert call(*check).code == 1
    (released / "waybill.toml").write_text(
        '[schema]\nlevel = "FULL"\n[schema.subjects."orders.placed-value"]\nlevel = "NONE"\n'
    )
    assert call(*check).code == 0
    assert call(*check, "--level", "backward").code == 1


def test_settings_name_the_registry_and_the_application(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (released / "waybill.toml").write_text(f'app = "service:app"\n[schema]\nregistry = "{REGISTRY}"\n')
    assert call("check").code == 0
    monkeypatch.setenv("WAYBILL_REGISTRY", "sqlite:///other.db")
    assert "sqlite:///other.db" in call("check").err


def test_history_may_be_long_and_refer_to_other_subjects(here: Path) -> None:
    with SyncRegistry(REGISTRY) as registry:
        registry.register_schema("customer", Schema(text=record("name:string", name="Customer")))
        references = (Reference(name="Customer", subject="customer", version=1),)
        registry.register_schema("order", Schema(text=record("customer:Customer"), references=references))
    (here / "order.avsc").write_text(record(f"customer:{record('name:long', name='Customer')}"))
    done = call("check", "order.avsc", "--registry", REGISTRY)
    assert (done.code, "/fields/0/type/fields/0/type (field name of Customer)" in done.words) == (1, True)


# Files.


def test_files_are_compared_by_their_names(here: Path) -> None:
    commit(
        {"schemas/order.avsc": record("id:string"), "schemas/more/other.avsc": record("id:string", name="Other")}, here
    )
    (here / "schemas/order.avsc").write_text(record("id:string", "vat:int"))
    (here / "schemas/more/other.avsc").unlink()
    (here / "schemas/third.avsc").write_text(record("id:string", name="Third"))
    done = call("check", "schemas", "--against", "HEAD", "--json")
    assert {one["subject"]: one["state"] for one in done.json} == {"order": "changed", "third": "new", "other": "gone"}
    assert done.code == 1
    assert [one["line"] for one in done.json[0]["breaks"]] == [1]


def test_a_gate_in_a_folder_below_the_root_of_the_repository(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit({"services/billing/service.py": SERVICE, "services/billing/a.avsc": record("id:string")}, here)
    monkeypatch.chdir(here / "services/billing")
    Path("service.py").write_text(BREAKING)
    done = call("check", "a.avsc", "--app", "service:app", "--against", "HEAD", "--json")
    assert {one["subject"]: one["broken"] for one in done.json} == {"a": False, SUBJECT: True}


def test_modules_below_src_are_those_of_the_revision(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an editable installation has them: a path to the working tree."""
    commit({"src/shop/__init__.py": "", "src/shop/service.py": SERVICE}, here)
    (here / "src/shop/service.py").write_text(BREAKING)
    monkeypatch.syspath_prepend(str(here / "src"))
    assert call("check", "--app", "shop.service:app", "--against", "HEAD").code == 1


def test_an_application_that_was_not_there_had_no_contracts(here: Path) -> None:
    commit({"README": "x"}, here)
    (here / "service.py").write_text(SERVICE)
    done = call("check", "--app", "service:app", "--against", "HEAD")
    assert (done.code, "new: nothing to break yet" in done.words) == (0, True)


def test_models_that_can_no_longer_be_imported_are_told(here: Path) -> None:
    commit({"service.py": "import nowhere_to_be_found\n" + SERVICE}, here)
    (here / "service.py").write_text(SERVICE)
    done = call("check", "--app", "service:app", "--against", "HEAD")
    assert (done.code, "nowhere_to_be_found" in done.err, "as of HEAD" in done.err) == (2, True, True)


def test_what_a_module_prints_disturbs_nobody(here: Path) -> None:
    noisy = SERVICE + "import os\nprint('hello')\nos.system('echo hello')\n"
    commit({"service.py": noisy}, here)
    assert call("check", "--app", "service:app", "--against", "HEAD").code == 0


# Wrong use.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "which contracts? Name an application (--app service:app"),
        (["a.avsc"], "which registry? Name it with --registry"),
        (["a.avsc", "--registry", REGISTRY, "--against", "HEAD"], "one of them at a time"),
        (
            ["a.avsc", "--registry", REGISTRY, "--level", "BACKWARDS"],
            "there is no level 'BACKWARDS'. Levels are: NONE,",
        ),
        (["a.avsc", "--registry", REGISTRY, "--format", "xml"], "one of text, json, github"),
        (["nowhere", "--registry", REGISTRY], "nowhere: there is no such file or folder"),
        (["empty", "--registry", REGISTRY], "there are no contracts in empty"),
        (["a.avsc", "--registry", "redis://host"], "names no registry"),
        (["--app", "plain:app", "--registry", REGISTRY], "no topic with codec=Avro"),
        (["a.avsc", "--against", "HEAD"], "--against needs a git repository"),
    ],
)
def test_wrong_use_says_what_to_do(here: Path, registry: str, arguments: list[str], said: str) -> None:
    (here / "a.avsc").write_text(record("id:string"))
    (here / "empty").mkdir()
    (here / "plain.py").write_text("from waybill import App\napp = App('plain')\n")
    done = call("check", *arguments)
    assert (done.code, said in done.err) == (2, True), done


def test_a_revision_that_is_not_there_is_told_with_the_usual_reason(here: Path) -> None:
    commit({"a.avsc": record("id:string")}, here)
    done = call("check", "a.avsc", "--against", "origin/main")
    assert done.code == 2
    assert "git knows no revision 'origin/main' here" in done.err
    assert "fetch-depth: 0" in done.err


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[schema]\nlevle = 'FULL'", "levle: Extra inputs"),
        ("[schema]\nlevel = 'FULLY'", "level: Input should be"),
        ("[schema]\nallow = ['TYPE_MISMACH']", "Did you mean TYPE_MISMATCH?"),
        ("[schema]\nfiles = ['a.avsc']\n[schema.subjects.b]\nlevel = 'FULL'", "has that subject. Those found are: a"),
        ("[schema.subjects.a]\nforbid = ['X']", "there is no rule 'X'"),
        ("[schema", "waybill.toml cannot be read"),
    ],
)
def test_settings_that_cannot_be_are_told(here: Path, registry: str, table: str, said: str) -> None:
    (here / "a.avsc").write_text(record("id:string"))
    (here / "waybill.toml").write_text(table)
    done = call("check", *([] if "files" in table else ["a.avsc"]), "--registry", REGISTRY)
    assert (done.code, said in done.err) == (2, True), done


def test_a_file_that_is_no_schema_is_told_by_name(here: Path, registry: str) -> None:
    (here / "a.avsc").write_text('{"type": "recrd"}')
    (here / "b.avsc").write_text("{")
    for file in ("a.avsc", "b.avsc"):
        done = call("check", file, "--registry", REGISTRY)
        assert (done.code, file in done.err) == (1, True), done


@pytest.mark.parametrize(
    "name", ["schemas/a.avsc", "../project/schemas", "{here}/schemas", "./schemas/../schemas/a.avsc"]
)
def test_paths_mean_the_same_in_a_revision(here: Path, name: str) -> None:
    """One that led back to the working tree would be compared with itself."""
    commit({"schemas/a.avsc": record("id:string")}, here)
    (here / "schemas/a.avsc").write_text(record("id:long"))
    done = call("check", name.format(here=here), "--against", "HEAD", "--json")
    assert [(one["subject"], one["broken"], one["source"]["file"]) for one in done.json] == [
        ("a", True, "schemas/a.avsc")
    ]


def test_a_path_outside_of_the_repository_has_no_revision(here: Path) -> None:
    commit({"a.avsc": record("id:string")}, here)
    (here.parent / "b.avsc").write_text(record("id:string"))
    done = call("check", "../b.avsc", "--against", "HEAD")
    assert (done.code, "outside of the repository" in done.err) == (2, True)


def test_a_change_of_a_type_in_another_file_is_a_change_of_those_who_use_it(here: Path) -> None:
    commit({"order.avsc": record("c:Customer"), "customer.avsc": record("name:string", name="Customer")}, here)
    (here / "customer.avsc").write_text(record("name:long", name="Customer"))
    (here / "waybill.toml").write_text('[schema.subjects.customer]\nallow = ["TYPE_MISMATCH"]\n')
    done = call("check", ".", "--against", "HEAD", "--json")
    assert {one["subject"]: one["broken"] for one in done.json} == {"customer": False, "order": True}


def test_some_of_the_contracts_may_be_checked_alone_but_a_typing_mistake_is_one(here: Path, registry: str) -> None:
    (here / "orders.avsc").write_text(record("id:string"))
    (here / "waybill.toml").write_text('[schema.subjects.customers]\nlevel = "FULL"\n')
    assert call("check", "orders.avsc", "--registry", registry).code == 0
    (here / "waybill.toml").write_text('[schema.subjects.order]\nlevel = "FULL"\n')
    done = call("check", "orders.avsc", "--registry", REGISTRY)
    assert (done.code, "Did you mean orders?" in done.err) == (2, True)


def test_annotations_are_seen_from_the_root_of_the_repository(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit({"services/billing/a.avsc": record("id:string")}, here)
    monkeypatch.chdir(here / "services/billing")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(here))
    Path("a.avsc").write_text(record("id:long"))
    done = call("check", "a.avsc", "--against", "HEAD", "--format", "github")
    assert done.out.startswith("::error file=services/billing/a.avsc,line=1,")


def test_those_who_may_see_only_their_own_subjects_can_use_the_gate(here: Path) -> None:
    """Nothing is asked but what is about the contracts."""

    def script(request: Request) -> Answer:
        if request.path.startswith("/config/a?"):
            return Answer(200, '{"compatibilityLevel": "FULL"}')
        if request.path.startswith("/subjects/a/versions"):
            return Answer(404, '{"error_code": 40401, "message": "no such subject"}')
        return Answer(403, '{"error_code": 40301, "message": "not yours"}')

    (here / "a.avsc").write_text(record("id:string"))

    async def check() -> Called:
        async with scripted(script) as server:
            return await asyncio.to_thread(call, "check", "a.avsc", "--registry", server.url, "--json")

    assert [(one["state"], one["level"]) for one in asyncio.run(check()).json] == [("new", "FULL")]
