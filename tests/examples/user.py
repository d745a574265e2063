"""What a user of the examples does: in an empty folder, type the commands of a page, and compare what comes with the page."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.docs.test_documents import blocks

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PATIENCE = 30.0
VARIES = {
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "ID",
    r"\d+(\.\d+)? ?s\b": "TIME",
    r"sqlite:///\S+": "URL",
    r" in /\S+": " in FOLDER",
}
"""What is different each time."""


def commands(page: Path) -> list[str]:
    return [line for block in blocks(page, "") for line in block.splitlines() if line and not line.startswith("#")]


def files(page: Path) -> dict[str, str]:
    """What the page tells to save, by name."""
    return dict(re.findall(r"[Ss]ave as `([\w.]+)`[^`]*```\w+\n(.*?)```", page.read_text(), re.DOTALL))


def lines(text: str) -> list[str]:
    """The lines of an output, without what varies; sorted, since several things happen at once."""
    for what, name in VARIES.items():
        text = re.sub(what, name, text)
    return sorted(" ".join(line.split()) for line in text.splitlines() if line.strip())


def shown(page: Path) -> list[list[str]]:
    """The outputs that the page shows, as `lines`."""
    return [lines(block) for block in blocks(page, "text")]


class Running:
    """A program in a terminal of its own."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def log(self) -> str:
        return self._output.with_suffix(".log").read_text()

    def until(self, text: str, *, times: int = 1) -> None:
        """Wait until it has printed `text`, to either stream."""
        end = time.monotonic() + PATIENCE
        while (self.output + self.log).count(text) < times:
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f"{self.process.args} has not printed {text!r}:\n{self.output}\n{self.log}")
            time.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


class User:
    """In an empty folder, with the checkout importable, as it is for somebody who works in it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WAYBILL_")}
        programs = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
        modules = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {
            **clean,
            "PATH": os.pathsep.join(programs),
            "PYTHONPATH": os.pathsep.join(modules),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(folder),
            **environment,
        }

    def run(self, line: str, *, code: int = 0) -> str:
        """What the command, or one a line, prints to stdout. The exit code must be `code`."""
        done = subprocess.run(
            ["sh", "-e", "-c", line],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code, f"{line}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def start(self, line: str) -> Generator[Running]:
        """A command that goes on, for as long as the block does at most."""
        output = self.folder / f"{len(list(self.folder.glob('*.out')))}.out"
        with output.open("w") as out, output.with_suffix(".log").open("w") as log:
            process = subprocess.Popen(
                self.shell(line), cwd=self.folder, env=self.environment, stdout=out, stderr=log, text=True
            )
        try:
            yield Running(process, output)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    @staticmethod
    def shell(line: str) -> list[str]:
        return ["sh", "-e", "-c", line if "\n" in line else f"exec {line}"]  # signals must reach the program itself
