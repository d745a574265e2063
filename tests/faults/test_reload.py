"""`waybill run --reload`: a real service whose files are edited while it runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.test_supervisor import PROGRAM, SERVICE, Site, lives
from tests.faults.waiting import PATIENCE, until
from waybill.reloading import roots

NEW = SERVICE.replace('journal("end", job)', 'journal("newend", job)')


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def write(site: Site, text: str, name: str = "service.py") -> None:
    """As an editor does it: a new file in the place of the old one."""
    (site.folder / "draft").write_text(text)
    (site.folder / "draft").rename(site.folder / name)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_changed_file_is_run_and_what_was_running_finishes(site: Site, workers: str) -> None:
    count = int(workers)
    site.publish({"name": "busy", "act": "sleep", "seconds": 0.8})
    program = site.run("--reload", "--workers", workers, ready=count)
    before = site.started()
    until(lambda: site.journal("start") == ["busy"], PATIENCE, "the handler to start")
    write(site, NEW)
    until(lambda: len(site.started()) == 2 * count, PATIENCE, "the workers to be replaced")
    assert site.journal("end") == ["busy"]
    assert site.journal("newend") == []
    assert not any(map(lives, before))
    assert "service.py changed: starting anew\n" in site.said()
    site.publish({"name": "after", "act": "sleep"})
    until(lambda: site.journal("newend") == ["after"], PATIENCE, "the new code to handle a message")
    program.terminate()
    assert program.wait(PATIENCE) == 0
    assert not any(map(lives, site.started()))


@pytest.mark.parametrize(("broken", "told"), [("def\n", "SyntaxError"), ("nonsense\n", "NameError")])
def test_what_cannot_be_imported_is_told_once_and_the_next_change_waited_for(
    site: Site, broken: str, told: str
) -> None:
    program = site.run("--reload")
    write(site, broken)
    until(lambda: "waiting for a file to change" in site.said(), PATIENCE, "the error to be noticed")
    assert site.said().count(told) == 1
    write(site, "no source", "notes.txt")
    write(site, NEW)
    until(lambda: len(site.started()) == 2, PATIENCE, "the worker to be replaced")
    assert site.said().count("starting anew") == 2
    program.terminate()
    assert program.wait(PATIENCE) == 0


def test_it_ends_while_nothing_runs(site: Site) -> None:
    write(site, "def\n")
    program = site.run("--reload", ready=0)
    until(lambda: "waiting for a file to change" in site.said(), PATIENCE, "the error to be noticed")
    program.send_signal(signal.SIGINT)
    assert program.wait(PATIENCE) == 0
    assert "Traceback" not in site.said()


def test_a_new_setting_is_a_change_and_a_wrong_one_is_waited_out(site: Site) -> None:
    site.run("--reload")
    write(site, "lease = 0\n", "waybill.toml")
    until(lambda: "waiting for a file to change" in site.said(), PATIENCE, "the error to be noticed")
    assert "lease: Input should be greater than or equal to 0.5" in site.said()
    write(site, "lease = 5\n", "waybill.toml")
    until(lambda: len(site.started()) == 2, PATIENCE, "the worker to be replaced")


def test_a_worker_that_dies_is_replaced_as_ever(site: Site) -> None:
    site.publish({"name": "poison", "act": "die"})
    site.run("--reload")
    until(lambda: site.journal("end") == ["poison"], PATIENCE, "the replacement to handle the message")


def test_wrong_use(site: Site) -> None:
    def wrong(*arguments: str, before: str = "") -> str:
        ended = subprocess.run(
            [sys.executable, "-c", before + PROGRAM, "run", "--reload", *arguments],
            cwd=site.folder, env=site.environment, capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
        assert ended.returncode == 2
        return ended.stderr

    assert "leave --workers 0 out" in wrong("--workers", "0")
    assert "pip install 'waybill[reload]'" in wrong(before="import sys; sys.modules['watchfiles'] = None; ")


def test_installed_packages_are_not_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("here/deep", "beside", "lib/site-packages", "prefix/lib"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    search = ["deep", "../beside", "../lib/site-packages", "../prefix/lib", "../absent", "", "zipped.zip"]
    assert roots(search) == [tmp_path / "beside", tmp_path / "here"]
