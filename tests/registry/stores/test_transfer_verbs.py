"""`waybill registry export` and `import`, as somebody at a terminal uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.registry.stores.test_transfer import TOPIC, VAT, console, schema
from waybill import WaybillError
from waybill_schema_registry.cli.transfer import export, import_

PROGRAM = typer.Typer()
PROGRAM.command("export")(export)
PROGRAM.command("import")(import_)


def run(*words: str, given: str | None = None) -> Result:
    done = CliRunner().invoke(PROGRAM, words, input=given)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A registry that has the topic."""
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    run("import", "-", "--store", url, given="".join(console(TOPIC)))
    return url


def test_a_dump_is_imported_and_exported(store: str, tmp_path: Path) -> None:
    out, other = tmp_path / "out.jsonl", f"sqlite:///{tmp_path / 'other.db'}"
    assert "14 records" in run("export", str(out), "--store", store).output
    assert "new: 10 schemas, 11 versions, 3 configs and modes" in run("import", str(out), "--store", other).output
    assert "new: 0 schemas, 0 versions" in run("import", str(out), "--store", other).output
    written = run("export", "-", "--store", other, "--form", "console").stdout.splitlines()
    assert len(written) == 14
    assert all(json.loads(part) for line in written for part in line.split("\t"))
    assert sorted(tmp_path.glob("out*")) == [out], "nothing is left beside it"


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    assert (
        "it would add: 1 schemas"
        in run("import", "-", "--store", url, "--dry-run", given=console([schema("a", 1, 1, VAT)])[0]).output
    )
    with pytest.raises(WaybillError, match="the store is empty"):
        run("export", "-", "--store", url)


def test_a_file_that_is_there_is_not_overwritten_unless_asked_for(store: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("precious")
    with pytest.raises(WaybillError, match="there is such a file"):
        run("export", str(out), "--store", store)
    assert out.read_text() == "precious"
    run("export", str(out), "--store", store, "--force")
    assert len(out.read_text().splitlines()) == 14


def test_what_fails_leaves_no_file_and_an_older_one_as_it_was(tmp_path: Path) -> None:
    out, url = tmp_path / "out.jsonl", f"sqlite:///{tmp_path / 'empty.db'}"
    run("import", "-", "--store", url, "--dry-run", given=console([schema("a", 1, 1, VAT)])[0])
    out.write_text("precious")
    with pytest.raises(WaybillError, match="the store is empty"):
        run("export", str(out), "--store", url, "--force")
    assert out.read_text() == "precious"
    assert sorted(tmp_path.glob("out*")) == [out]


def test_a_store_that_is_not_there_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(WaybillError, match="does not exist"):
        run("export", "-", "--store", f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(WaybillError, match="memory:// is empty"):
        run("export", "-", "--store", "memory://")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    binary, url = tmp_path / "binary", f"sqlite:///{tmp_path / 'registry.db'}"
    binary.write_bytes(b"\xff\xfe\x00")
    for file, said in [
        (str(tmp_path / "none"), "cannot be read"),
        (str(binary), "no text in UTF-8"),
        (str(tmp_path), "cannot be read"),
    ]:
        with pytest.raises(WaybillError, match=said):
            run("import", file, "--store", url)


def test_kinds_that_mean_nothing_here_are_counted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    odd = '{"keytype":"ASSOC","resource":"x"}\t{"a":1}\n'
    done = run("import", "-", "--store", url, given="".join([*console([schema("a", 1, 1, VAT)]), odd, odd, "\n"]))
    assert "left out, as they mean nothing here: 2 records of the kind ASSOC" in done.output
