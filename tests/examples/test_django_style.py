"""The Django-style example, as a user runs it."""

import signal
from pathlib import Path

from tests.examples.user import EXAMPLES, User, commands, lines, shown

PAGE = EXAMPLES / "django_style" / "README.md"


def test_parent_and_forked_children_publish_and_the_worker_consumes(tmp_path: Path) -> None:
    user = User(tmp_path, WAYBILL_URL="sqlite:///waybill.db")
    serve, consume = commands(PAGE)
    served = user.run(serve)
    with user.start(consume) as worker:
        worker.until("welcome", times=3)
        assert worker.stop(signal.SIGINT) == 0
    assert [lines(served + worker.output)] == shown(PAGE)


def test_a_view_that_cannot_publish_answers_503(tmp_path: Path) -> None:
    script = """
from sqlite3 import connect
from examples.django_style.http import HttpRequest
from examples.django_style.views import sign_up
request = HttpRequest(POST={"email": "user-1@example.org"})
print(sign_up(request).status)
other = connect("waybill.db", isolation_level=None)
other.execute("BEGIN IMMEDIATE")
print(sign_up(request).status)
other.execute("ROLLBACK")
"""
    user = User(tmp_path, WAYBILL_URL="sqlite:///waybill.db")
    (tmp_path / "script.py").write_text(script)
    assert user.run("python script.py").split() == ["202", "503"]


def test_another_command_is_refused(tmp_path: Path) -> None:
    User(tmp_path).run("python -m examples.django_style migrate", code=1)
