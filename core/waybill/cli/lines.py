"""JSON lines from a file or a pipe, in bounded memory: a thread reads, so that a slow pipe holds up nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from io import FileIO

from waybill.errors import ConfigurationError, WaybillError

__all__ = ["Line", "chunks"]

CHUNK = 1000
"""Lines published together."""
BLOCK = 256 << 10
LONGEST = 64 << 20
"""Bytes of one line. No broker carries that much; without an end it would be read into memory for ever."""

Line = tuple[int, bytes]
"""Its number, from 1, and its bytes."""


async def chunks(file: FileIO, read: list[int]) -> AsyncIterator[list[Line]]:
    """What has arrived, at most `CHUNK` lines at a time, without empty ones. `read[0]` counts the bytes.

    Raises `ConfigurationError` for what is no text of lines, `WaybillError` when reading fails.
    """
    loop = asyncio.get_running_loop()
    blocks: asyncio.Queue[bytes | Exception] = asyncio.Queue(maxsize=2)

    def read_block() -> bytes | Exception:
        try:
            return file.read(BLOCK) or b""
        except OSError as error:
            return error  # raised where it is waited for

    def read_blocks() -> None:
        more = True
        while more:
            block = read_block()
            more = isinstance(block, bytes) and block != b""
            try:
                asyncio.run_coroutine_threadsafe(blocks.put(block), loop).result()
            except (RuntimeError, CancelledError):
                return  # nobody wants more

    threading.Thread(target=read_blocks, name="waybill-lines", daemon=True).start()
    number, rest = 0, b""
    while True:
        block = await blocks.get()
        if isinstance(block, Exception):
            raise WaybillError(f"reading stopped after line {number}: {block}") from block
        read[0] += len(block)
        *whole, rest = (rest + block).split(b"\n") if block else (rest, b"")
        if len(rest) > LONGEST:
            raise ConfigurationError(
                f"line {number + len(whole) + 1} is longer than {LONGEST >> 20} MiB: is this a file of JSON lines?"
            )
        for start in range(0, len(whole), CHUNK):
            lines = list(enumerate(whole[start : start + CHUNK], number + start + 1))
            if kept := [(place, text.strip()) for place, text in lines if text.strip()]:
                yield kept
        number += len(whole)
        if not block:
            return
