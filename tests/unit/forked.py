"""`waybill` in a process of its own that is forked from one which has imported it: to start Python takes longer than most verbs.

What a verb must not import, and how it ends on a signal, is tested with whole processes.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

PATIENCE = 30.0


def run(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` of `waybill` with these words. Raises `TimeoutError` after 30 s."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("in", "out", "err")]
        streams[0].write_text(given or "", encoding="utf-8")
        asked = {"words": list(words), "cwd": str(cwd), "env": dict(env), "streams": [str(each) for each in streams]}
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(PATIENCE)
            line.connect(_server())
            line.sendall(json.dumps(asked).encode() + b"\n")
            code = int(line.makefile().readline())
        out, err = (each.read_text(encoding="utf-8") for each in streams[1:])
    return subprocess.CompletedProcess(["waybill", *words], code, out, err)


@cache
def _server() -> str:
    """The address of this process's server, which ends with it."""
    folder = tempfile.TemporaryDirectory(prefix="waybill-forks-")
    address = str(Path(folder.name, "line"))
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    stdin, stdout = process.stdin, process.stdout

    def end() -> None:
        stdin.close()
        process.wait()
        stdout.close()
        folder.cleanup()

    atexit.register(end)
    return address


def serve(address: str) -> None:
    """Until whoever has started this ends."""
    import typer

    from waybill.cli.program import program

    typer.main.get_command(program)  # which imports the verbs
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            line = listener.accept()[0]
            if os.fork() == 0:
                _attend(line)
            line.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _attend(line: socket.socket) -> NoReturn:
    asked = json.loads(line.makefile().readline())
    if (child := os.fork()) == 0:
        _become(asked)
    _, status = os.waitpid(child, 0)
    line.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(asked: dict[str, Any]) -> NoReturn:
    """`waybill`, as if it had been started so."""
    flags = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)
    for number, (path, flag) in enumerate(zip(asked["streams"], flags, strict=True)):
        os.dup2(os.open(path, flag, 0o600), number)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.path.insert(0, "")
    sys.argv = ["waybill", *asked["words"]]
    from waybill.cli import main

    code: Any = 1
    try:
        code = main()
    except SystemExit as left:
        code = left.code or 0
    except BaseException:  # noqa: BLE001 - as Python itself
        sys.excepthook(*sys.exc_info())
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    serve(sys.argv[1])
