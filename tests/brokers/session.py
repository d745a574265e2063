"""The way to a session's keeper, for the tests and for `make brokers`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.brokers.processes import sweep
from tests.brokers.running import Broken, Command, Running, Unavailable

ROOT = Path(__file__).parents[2]
Found = Running | Unavailable | Broken


def sessions() -> Path:
    """The folder of all sessions of this user; short, because the path of a socket has to be."""
    folder = Path(tempfile.gettempdir()) / f"waybill-brokers-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


class Session:
    """A connection to the keeper of the session `name`, which is started if it does not run.

    Processes that give the same name share the brokers. `close` waits, in the last of them, until all brokers are gone.
    """

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self.found: dict[str, Found] = {}
        self._folder = sessions() / name
        self._say = say
        self._one_at_a_time = threading.Lock()
        with (sessions() / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._connection = connect(self._folder) or start(self._folder)
        self._answers = self._connection.makefile("r")

    def start(self, names: Iterable[str]) -> dict[str, Found]:
        """Start these brokers, all at once, and wait for all of them. One that runs already is not started again."""
        wanted = [name for name in names if name not in self.found]
        answers = self._ask({"do": "provide", "brokers": wanted}) if wanted else {}
        for name, answer in answers.items():
            if "url" in answer:
                self.found[name] = Running(name, ask=self._command, **answer)
            else:
                self.found[name] = (
                    Unavailable(answer["unavailable"]) if "unavailable" in answer else Broken(answer["broken"])
                )
        return self.found

    @contextlib.contextmanager
    def turn(self, name: str, *, alone: bool) -> Iterator[None]:
        """Use a broker together with other processes of the session, or while none of them does."""
        with (self._folder / f"{name}.turn").open("a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield

    def keep(self) -> None:
        """Let the brokers outlive this process."""
        self._ask({"do": "keep"})

    def down(self) -> None:
        """End the brokers now, whoever else uses them."""
        self._ask({"do": "down"})

    def close(self) -> None:
        """Say that this process is done with the brokers."""
        self._connection.shutdown(socket.SHUT_WR)
        while self._connection.recv(4096):
            pass
        self._answers.close()
        self._connection.close()

    def _command(self, name: str, verb: Command, *arguments: str) -> str:
        answer = self._ask({"do": verb, "broker": name, "arguments": arguments})
        if why := answer.get("broken"):
            raise Broken(f"{name}, {verb}: {why}")
        output: str = answer["output"]
        return output

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._one_at_a_time:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
            for line in self._answers:
                answer: dict[str, Any] = json.loads(line)
                if "say" not in answer:
                    return answer
                self._say(answer["say"])
        raise Broken("The keeper of the brokers is gone; the brokers went with it.")


def connect(folder: Path) -> socket.socket | None:
    """A connection to the session's keeper, if there is one."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(folder / "socket"))
    except OSError:
        connection.close()
        return None
    return connection


def start(folder: Path) -> socket.socket:
    """Start a keeper, after ending what killed ones left behind; called by one process at a time."""
    sweep(folder.parent)
    folder.mkdir()
    log = folder / "keeper.log"
    command = [sys.executable, "-m", "tests.brokers.keeper", str(folder)]
    with log.open("wb") as output:
        # In a session of its own: the terminal's Ctrl-C is for the tests, and the keeper goes when they have gone.
        subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            check=False,
        )
    if connection := connect(folder):
        return connection
    raise Broken(f"The keeper of the brokers did not start:\n{log.read_text()[-2000:]}")
