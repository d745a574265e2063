"""Processes that are killed while they commit: no id is lost, none is given twice, and what was confirmed is there."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from tests.registry.stores.postgres import schema
from waybill_contracts.registry.trial import state_of
from waybill_schema_registry.stores.opening import open_store

ROOT = Path(__file__).parents[3]
ROUNDS = 3


async def start(url: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.registry.stores.committing", url, cwd=ROOT, stdout=PIPE
    )


async def confirmed_until_killed(process: Process, least: int) -> list[int]:
    """What it printed. It is killed at some moment after so many commits."""
    assert process.stdout is not None
    ids = [int(await process.stdout.readline()) for _ in range(least)]
    await asyncio.sleep(random.random() * 0.02)
    process.send_signal(signal.SIGKILL)
    ids += [int(line) for line in (await process.stdout.read()).split(b"\n")[:-1]]
    await process.wait()
    return ids


async def show(url: str) -> None:
    confirmed: list[int] = []
    for _ in range(ROUNDS):
        processes = [await start(url) for _ in range(2)]
        async with asyncio.timeout(60):
            both = await asyncio.gather(*(confirmed_until_killed(process, 10) for process in processes))
        confirmed += [ident for ids in both for ident in ids]
    assert len(set(confirmed)) == len(confirmed), "an id was given twice"
    store = open_store(url)
    await store.open()
    try:
        state = await state_of(store)
        kept = sorted(ident for _, ident in state.schemas)
        assert kept == list(range(1, len(kept) + 1)), "an id was lost"
        assert set(confirmed) <= set(kept), "what was confirmed is not there"
        assert len(kept) - len(confirmed) <= 2 * ROUNDS, "more is there than was confirmed and was on its way"
        assert {ident for ident, _, _ in state.versions.values()} == set(kept), "half of a commit is there"
        assert await store.revision() == len(kept)
        assert len(await store.schemas(".", kept)) == len(kept)
    finally:
        await store.close()


async def test_on_a_file(tmp_path: Path) -> None:
    await show(f"sqlite:///{tmp_path / 'registry.db'}")


@pytest.mark.broker("postgres")
async def test_on_postgresql() -> None:
    async with schema() as url:
        await show(url)
