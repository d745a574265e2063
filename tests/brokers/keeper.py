"""The process that starts a session's brokers and ends them: `python -m tests.brokers.keeper FOLDER`.

Who wants a broker connects to `FOLDER/socket` and sends requests, one JSON object a line:

    {"do": "provide", "brokers": ["kafka", …]}  {"kafka": {"url": …, "version": …, …} | {"unavailable": why} | {"broken": why}, …}
    {"do": "restart", "broker": "kafka", "arguments": []}   {"output": …} | {"broken": why}; as each verb of `Broker`
    {"do": "keep"}                             go on when nobody is connected
    {"do": "down"}                             end everything, and say so

Before an answer there may be lines {"say": …}, for the person who waits. When the last connection closes, by a good end
or a kill alike, the keeper ends every broker, removes FOLDER and goes. Everything runs in one thread: a broker dies with
the thread that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.brokers.broker import Broker
from tests.brokers.processes import record
from tests.brokers.providers import provide
from tests.brokers.running import Broken, Unavailable

Say = Callable[[str], None]
PATIENCE = 20.0
"""Seconds without anybody after which a keeper goes that nobody has spoken to yet."""


class Keeper:
    """The brokers of one session and who uses them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.starting: dict[str, asyncio.Task[Broker]] = {}
        self.users = 0
        self.kept = False
        self.over = asyncio.Event()
        self.gone = asyncio.Event()

    async def serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.over.set)
        self.unused = loop.call_later(PATIENCE, self.over.set)
        server = await asyncio.start_unix_server(self._user, sock=listener)
        await self.over.wait()
        server.close()
        await self._discard_all()
        if logs := os.environ.get("TEST_BROKERS_LOGS"):
            self._save_logs(Path(logs))
        shutil.rmtree(self.folder, ignore_errors=True)
        self.gone.set()
        await asyncio.sleep(0)  # those who wait for the end are told

    def _save_logs(self, logs: Path) -> None:
        """What the native brokers have said, to be read when they are gone."""
        logs.mkdir(parents=True, exist_ok=True)
        for log in self.folder.glob("*/console.log"):
            shutil.copyfile(log, logs / f"{log.parent.name}.log")

    async def _user(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.unused.cancel()
        self.users += 1
        requests: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                request = asyncio.create_task(self._answer(json.loads(line), writer))
                requests.add(request)
                request.add_done_callback(requests.discard)
        except ConnectionError:
            pass
        self.users -= 1
        if not self.users and not self.kept:
            self.over.set()
            await self.gone.wait()  # the connection closes when nothing is left
        with contextlib.suppress(ConnectionError):
            writer.close()

    async def _answer(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        def tell(line: dict[str, Any]) -> None:
            if not writer.is_closing():
                writer.write(json.dumps(line).encode() + b"\n")

        match request["do"]:
            case "provide":
                names: list[str] = request["brokers"]
                found = await asyncio.gather(*(self._start(name, lambda text: tell({"say": text})) for name in names))
                tell(dict(zip(names, found, strict=True)))
            case "keep":
                self.kept = True
                tell({})
            case "down":
                self.over.set()
                await self.gone.wait()
                tell({})
            case verb:
                tell(await self._do(request["broker"], verb, request["arguments"]))

    async def _start(self, name: str, say: Say) -> dict[str, Any]:
        if name not in self.starting:
            self.starting[name] = asyncio.create_task(provide(name, self.folder, say))
        try:
            broker = await asyncio.shield(self.starting[name])
        except Unavailable as problem:
            return {"unavailable": str(problem)}
        except Broken as problem:
            return {"broken": str(problem)}
        except Exception as problem:  # noqa: BLE001 - whatever it is, those who wait are told
            return {"broken": repr(problem)}
        return {
            "url": broker.url,
            "version": broker.version,
            "provider": broker.provider,
            "further": dict(broker.at.further),
            "seconds": broker.seconds,
        }

    async def _do(self, name: str, verb: str, arguments: list[str]) -> dict[str, str]:
        try:
            output = await getattr(await self.starting[name], verb)(*arguments)
        except Broken as problem:
            return {"broken": str(problem)}
        except Exception as problem:  # noqa: BLE001 - whatever it is, those who wait are told
            return {"broken": repr(problem)}
        return {"output": output or ""}

    async def _discard_all(self) -> None:
        for task in self.starting.values():
            task.cancel()  # one that still starts ends what it had started itself
        found = await asyncio.gather(*self.starting.values(), return_exceptions=True)
        brokers = [broker for broker in found if isinstance(broker, Broker)]
        for broker, problem in zip(
            brokers,
            await asyncio.gather(*(broker.discard() for broker in brokers), return_exceptions=True),
            strict=True,
        ):
            if problem:
                print(f"{broker.url} could not be ended: {problem!r}", file=sys.stderr)


def main() -> None:
    """Return as soon as the keeper can be connected to; it goes on by itself."""
    folder = Path(sys.argv[1])
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen()
    if child := os.fork():
        record(folder, child)
        os._exit(0)
    asyncio.run(Keeper(folder).serve(listener))


if __name__ == "__main__":
    main()
