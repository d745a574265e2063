"""Avro Java, started once and asked many times.

Its jars come by Maven and Oracle.java is compiled by the JDK, both once, into the cache of the real brokers
(tests/brokers/README.md); what is missing is named by `Unavailable`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.brokers.fetching import Cache, cache_folder
from tests.brokers.processes import run, tied
from tests.brokers.recipe import java

VERSION = "1.12.1"
DIGEST = "372502727a4972a62a232379e2939b387d03a1846fec114e0a7f5b795c59e1e0"
SOURCE = Path(__file__).with_name("Oracle.java")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def install() -> tuple[Path, Path]:
    """The folders of Avro's jars and of the compiled oracle. Raises `Unavailable`."""
    cache = Cache(cache_folder(), say)
    compiler = await cache.tool("javac", "default-jdk-headless")
    jars = await cache.jars(f"avro-{VERSION}", DIGEST, f"org.apache.avro:avro:{VERSION}")

    async def compile_into(half: Path) -> None:
        await run(compiler, "-cp", f"{jars}/*", "-d", str(half), str(SOURCE), remedy="It needs JDK 17 or newer.")

    state = hashlib.sha256(SOURCE.read_bytes() + VERSION.encode()).hexdigest()[:16]
    return jars, await cache.part(f"avro-oracle-{state}", "nothing, but compiling Oracle.java", compile_into)


@dataclass(frozen=True)
class Oracle:
    """A running one. Questions and answers are those of Oracle.java."""

    process: subprocess.Popen[str]

    def answers(self, questions: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each question with its answer, in order. Questions are asked ahead, by a thread, so that nobody waits for long."""
        assert self.process.stdin
        assert self.process.stdout
        asked = list(questions)
        feeder = threading.Thread(target=self._feed, args=(asked,), daemon=True)
        feeder.start()
        for question in asked:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"The oracle ended with {self.process.wait()}; its words are on standard error.")
            yield question, json.loads(line)
        feeder.join()

    def answer(self, **question: Any) -> dict[str, Any]:
        [(_, answer)] = self.answers([question])
        return answer

    def _feed(self, questions: list[dict[str, Any]]) -> None:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            for question in questions:
                self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()


@contextlib.contextmanager
def oracle() -> Iterator[Oracle]:
    """One for the `with` block. Raises `Unavailable`."""
    jars, classes = asyncio.run(install())
    quiet = "-Dslf4j.internal.verbosity=ERROR"
    command = java(jars, quiet, "-cp", f"{classes}:{jars}/*", "Oracle", heap=512)  # the last class path counts
    with subprocess.Popen(
        tied(*command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            yield Oracle(process)
        finally:
            process.kill()
