"""Processes that we started: told apart from later ones with the same id, run to their end, ended by their id."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.brokers.running import Unavailable

RECORD = "processes"
GIVEN: list[Any] = []
"""Locked files, of the ports that this process was given."""


def started(pid: int) -> str:
    """When the process began, in the kernel's ticks; empty when there is none, or it has ended and waits for its parent."""
    try:
        if not Path("/proc/self").exists():  # not Linux: whether it runs is all that can be told
            os.kill(pid, 0)
            return "?"
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]


def below(pid: int) -> list[int]:
    """The processes that this one has started and that still run, and theirs; none where the kernel does not say."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [one for child in children for one in (child, *below(child))]


def record(folder: Path, pid: int) -> None:
    """Note that the session in `folder` has this process; the first one is its keeper."""
    with (folder / RECORD).open("a") as file:
        file.write(f"{pid} {started(pid)}\n")


def recorded(folder: Path) -> Iterator[tuple[int, bool]]:
    """Each process of the session, and whether it still runs."""
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / RECORD).read_text().splitlines():
            pid, _, begin = line.partition(" ")
            yield int(pid), begin != "" and started(int(pid)) == begin


def sweep(sessions: Path) -> None:
    """End what sessions left behind whose keeper is gone, and remove their folders."""
    for folder in filter(Path.is_dir, sessions.iterdir()):
        keeper, *others = [*recorded(folder)] or [(0, False)]
        if keeper[1]:
            continue
        for pid, running in others:
            if running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def tied(*command: str, signal_name: str = "KILL") -> list[str]:
    """The command, to be ended with the process that starts it, even when that one is killed."""
    return [*(["setpriv", "--pdeathsig", signal_name, "--"] if shutil.which("setpriv") else []), *command]


async def run(*command: str, remedy: str, stdin: bytes = b"") -> str:
    """Run a command to its end and return what it printed. Raises Unavailable with the remedy and its words."""
    process = await asyncio.create_subprocess_exec(
        *tied(*command, signal_name="TERM"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    text = re.sub(r"\x1b\[[0-9;]*m", "", output.decode(errors="replace").strip())  # colours are for a terminal
    if process.returncode:
        lines = text.splitlines()
        errors = [line[:300] for line in lines if re.search(r"^E: |\[ERROR\] \w", line)]  # as apt and Maven say it
        words = errors[:2] or lines[-3:]
        raise Unavailable("\n".join([f"{remedy} `{command[0]}` ended with {process.returncode}:", *words]))
    return text


def free_port() -> int:
    """A port of the loopback interface that nothing listens on just now, and that nobody else is given while this process lives.

    Below those that the kernel gives to connections: while a broker is down, none of them may take its port, and no
    client that tries to connect there may meet itself.
    """
    folder = Path(tempfile.gettempdir(), f"waybill-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    while True:
        port = 12000 + secrets.randbelow(20000)
        mine = (folder / str(port)).open("w")
        with contextlib.suppress(OSError):
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.create_server(("127.0.0.1", port)):
                GIVEN.append(mine)
                return port
        mine.close()
