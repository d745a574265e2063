"""docs/getting-started.md, followed from top to bottom by somebody with two terminals."""

import json
import signal
import time
from pathlib import Path

from tests.docs.test_documents import blocks
from tests.examples.user import PATIENCE, ROOT, User, files, lines, shown

PAGE = ROOT / "docs" / "getting-started.md"


def test_a_newcomer_who_follows_the_page_sees_what_it_shows(tmp_path: Path) -> None:
    user = User(tmp_path)
    prepare, publish, call, explain, fail, look, mend, test, produce = blocks(PAGE, "")
    published, welcomed, called, explained, dead, mended, tested = shown(PAGE)
    for name, text in files(PAGE).items():
        (tmp_path / name).write_text(text)

    prepare, _, serve = prepare.strip().rpartition("\n")
    user.run(prepare)
    with user.start(serve) as service:
        assert lines(user.run(publish)) == published
        service.until("welcome, ")
        assert lines(service.output) == welcomed
        user.run(call)
        service.until("welcome, ", times=2)
        assert lines(service.output) == welcomed + called
        assert lines(user.run(explain)) == explained

        user.run(fail)
        service.until("is a dead letter", times=2)
        assert lines(user.run(look)) == dead
        assert lines(user.run(mend)) == mended
        wait_for(tmp_path / "outbox" / "user-3@example.org")
        assert service.stop(signal.SIGINT) == 0
    assert json.loads(user.run("waybill dlq list --json")) == []
    assert lines(user.run(test)) == tested

    *deploy, serve = produce.strip().splitlines()
    with user.start("\n".join([*deploy, f"exec {serve}"])) as service:
        service.until("worker 2 ")
        assert "everything is there" in service.output
        assert service.stop() == 0
    assert (tmp_path / "production.db").exists()


def test_the_page_names_the_files_that_its_blocks_are() -> None:
    assert sorted(files(PAGE)) == ["service.py", "test_service.py", "views.py", "waybill.toml"]
    assert len(files(PAGE)) == len(blocks(PAGE, "python")) + len(blocks(PAGE, "toml"))


def wait_for(path: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} has not come"
        time.sleep(0.02)
