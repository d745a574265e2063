"""Who carries an operation out: one at a time, who gives signs of life, and sends nothing more once it is another's."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

from waybill.errors import ConfigurationError
from waybill.ids import new_id

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["BEAT", "begin", "check", "end", "lives"]

SILENT = 60.0
"""Seconds without a sign of life after which who carries out an operation counts as dead, …"""
BEAT = SILENT / 6
"""… and between two such signs."""
HOST = socket.gethostname()


def begin(c: Connection, ident: str) -> str:
    """Nobody else carries that operation out from now on. Says under which name we do: two containers may have one host name
    and one process number. Raises `ConfigurationError` while somebody else does."""
    runner, beat = _of(c, ident)
    if lives(runner, beat):
        host, process, *_ = runner.split("/")
        raise ConfigurationError(f"operation {ident} is carried out by process {process} on {host}: wait, or cancel it")
    me = f"{HOST}/{os.getpid()}/{new_id()}"
    c.execute("UPDATE operation SET runner = ?, beat = ? WHERE id = ?", (me, time.time(), ident))
    return me


def check(c: Connection, ident: str, runner: str) -> None:
    """A sign of life. Raises `ConfigurationError` where the operation is not that runner's any more: who was suspended for long,
    or whose clock jumped, was taken for dead, and what it had claimed may be anybody's now."""
    if _of(c, ident)[0] != runner:
        raise ConfigurationError(
            f"operation {ident} is no longer carried out by this process, which gave no sign of life: somebody has ended it or "
            "goes on with it, see `waybill dlq operations --ended`"
        )
    c.execute("UPDATE operation SET beat = ? WHERE id = ?", (time.time(), ident))


def end(c: Connection, ident: str, runner: str) -> None:
    c.execute("UPDATE operation SET runner = '' WHERE id = ? AND runner = ?", (ident, runner))


def lives(runner: str, beat: float) -> bool:
    """Whether the process that carries an operation out, if any does, is still there. Its number may be another's by now: in a
    container that was started anew it is the same each time."""
    if not runner or time.time() - beat >= SILENT:
        return False
    host, process, *_ = runner.split("/")
    if host != HOST:
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _of(c: Connection, ident: str) -> tuple[str, float]:
    found: tuple[str, float] = c.execute("SELECT runner, beat FROM operation WHERE id = ?", (ident,)).fetchone()
    return found
