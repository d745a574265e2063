"""A broker as processes of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from tests.brokers.broker import Broker
from tests.brokers.processes import below, free_port, record, run, started, tied
from tests.brokers.recipe import Address, Recipe
from tests.brokers.running import Broken, Unavailable

Process = asyncio.subprocess.Process


class Native(Broker):
    """Its data is in `session / name`. The process that starts it is its parent, and takes it along when it dies."""

    provider = "native"

    def __init__(self, recipe: Recipe, installed: Path, version: str, session: Path, name: str) -> None:
        self.recipe, self.version, self.session = recipe, version, session
        self.at = Address("127.0.0.1", free_port(), {name: free_port() for name in recipe.further})
        self.folder = session / name
        self.folder.mkdir()
        self.log = self.folder / "console.log"
        self.commands = recipe.launch(installed, self.folder, self.at)
        self.beside: list[Process] = []
        self.main: Process | None = None

    async def create(self) -> None:
        for command in self.commands.once:
            await run(*command, remedy="Its folder could not be prepared.")
        for command in self.commands.beside:
            self.beside.append(await self._spawn(command))
        await self._start_main()

    async def start(self) -> None:
        if self.main is None or self.main.returncode is not None:
            await self._start_main()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def pause(self) -> None:
        self._signal_all(signal.SIGSTOP)

    async def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    async def kill(self) -> None:
        pids = self._signal_all(signal.SIGKILL)
        await self._ended()
        while any(map(started, pids)):  # they may hold what the next one needs
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        if self.main is not None and self.main.returncode is None:
            self._signal(self.commands.end)
            self._signal_all(signal.SIGCONT)  # a paused one could not hear it
            await self._ended()

    async def run(self, *command: str) -> str:
        try:
            return await run(*self.commands.tool, *command, remedy=f"{command[0]} failed.")
        except Unavailable as problem:
            raise Broken(str(problem)) from None

    async def discard(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stop(), 20)
        for process in [*self.beside, *([self.main] if self.main else [])]:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _start_main(self) -> None:
        self.main = await self._spawn(self.commands.main)
        await self.ready(self._last_words)

    async def _spawn(self, command: list[str]) -> Process:
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *tied(*command), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        record(self.session, process.pid)
        return process

    def _signal(self, number: signal.Signals) -> None:
        if self.main is None or self.main.returncode is not None:
            raise Broken("The broker does not run: `start` it first.")
        self.main.send_signal(number)

    def _signal_all(self, number: signal.Signals) -> list[int]:
        """Reach what the broker has started as well, whose ids are returned. It stands still meanwhile, and starts no more."""
        self._signal(signal.SIGSTOP)
        pids = below(self.main.pid) if self.main is not None else []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        self._signal(number)
        return pids

    async def _ended(self) -> None:
        if self.main is not None:
            await self.main.wait()

    def _last_words(self) -> str | None:
        if self.main is None or self.main.returncode is None:
            return None
        return f"exit code {self.main.returncode}\n{self.log.read_text(errors='replace')[-2000:]}"
