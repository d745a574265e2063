"""The smallest program, in a terminal: nobody has configured anything."""

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

from tests.examples.user import EXAMPLES, PATIENCE, User, commands, lines, shown

PAGE = EXAMPLES / "hello" / "README.md"


def test_ten_lines_publish_and_consume_on_a_fresh_machine(tmp_path: Path) -> None:
    program = (EXAMPLES / "hello" / "__main__.py").read_text()
    assert len([line for line in program.splitlines() if line]) <= 10

    (command,) = commands(PAGE)
    user = User(tmp_path)
    outside, terminal = pty.openpty()
    os.set_blocking(outside, False)
    process = subprocess.Popen(
        user.shell(command), cwd=tmp_path, env=user.environment, stdin=terminal, stdout=terminal, stderr=terminal
    )
    output, end = "", time.monotonic() + PATIENCE
    try:
        while "Hello, world!" not in output:
            assert time.monotonic() < end, output
            try:
                output += os.read(outside, 4096).decode()
            except BlockingIOError:
                time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
        os.close(outside)
    assert [lines(output)] == shown(PAGE)
    assert (tmp_path / "waybill.db").exists()


def test_without_a_terminal_it_wants_to_be_told_where_the_messages_go(tmp_path: Path) -> None:
    (command,) = commands(PAGE)
    User(tmp_path).run(command, code=1)
    assert list(tmp_path.iterdir()) == []
    with User(tmp_path, WAYBILL_DEV="1").start(command) as program:
        program.until("Hello, world!")
        assert program.stop() == 0
