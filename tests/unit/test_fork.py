"""Processes that fork: nothing that was open comes along."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

BEGIN = """
    import os
    from waybill import App, BrokerFileError, ConfigurationError, Settings, Topic
    numbers = Topic("numbers", int, groups=["g"])
    app = App("web", settings=Settings(url="sqlite:///bus.db"))
    def fork(child):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                child()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def run(folder: Path, script: str) -> str:
    whole = textwrap.dedent(BEGIN) + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", whole], cwd=folder, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_parent_and_children_publish_before_and_after_a_fork(tmp_path: Path) -> None:
    printed = run(
        tmp_path,
        """
        app.sync.publish(numbers, 1)
        fork(lambda: (app.sync.publish(numbers, 2), fork(lambda: app.sync.publish(numbers, 3))))
        fork(lambda: app.sync.publish(numbers, 4))
        app.sync.publish(numbers, 5)
        import sqlite3
        print(sqlite3.connect("bus.db").execute("SELECT count(*) FROM messages").fetchone()[0])
        """,
    )
    assert printed == "5\n"


@pytest.mark.parametrize("other", ["app", "App('other', settings=app.settings)"])
def test_a_child_of_a_connected_parent_is_refused(tmp_path: Path, other: str) -> None:
    printed = run(
        tmp_path,
        f"""
        def child():
            try:
                {other}.sync.publish(numbers, 2)
            except (ConfigurationError, BrokerFileError) as error:
                print(error, flush=True)
        with app.sync.running():
            app.sync.publish(numbers, 1)
            fork(child)
            app.sync.publish(numbers, 3)
        """,
    )
    assert "fork" in printed
