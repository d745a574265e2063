"""The turn of the embedded broker, and the threads that wait for it."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path

import pytest

from waybill_embedded.turn import FileTurn, Helper


async def test_what_fails_when_nobody_waits_for_it_any_more_is_told_to_nobody() -> None:
    complaints = list[str]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(str(context["message"])))
    helper, begun, ended = Helper("waiting"), threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        ended.wait(10)
        raise OSError("too late")

    waiting = asyncio.ensure_future(helper.do(job))
    await asyncio.to_thread(begun.wait, 10)
    waiting.cancel()
    await asyncio.wait([waiting])
    ended.set()
    helper.stop()
    await asyncio.to_thread(helper.join, 10)
    await asyncio.sleep(0)
    del waiting
    gc.collect()
    assert not complaints


def test_a_turn_that_was_closed_locks_no_other_file(tmp_path: Path) -> None:
    turn = FileTurn(str(tmp_path / "turn"), lambda: None)
    turn.close()
    with (tmp_path / "other").open("w") as other, pytest.raises((OSError, ValueError), match="descriptor"):
        turn.take()  # `other` has the number that the turn's file had
    assert other.closed
