"""The files of a git revision, in a folder of their own: the working tree and its index stay as they are."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from waybill.errors import ConfigurationError

__all__ = ["Revision", "checked_out"]

PATIENCE = 300
"""Seconds for one command of git."""


@dataclass(frozen=True, slots=True)
class Revision:
    """name: as it was asked for, with its commit. root: of the files as they were. here: what the working directory was there.
    tree: the root of the working tree."""

    name: str
    root: Path
    here: Path
    tree: Path

    def place_of(self, path: Path) -> Path:
        """Where a path of the working tree was then. Raises `ConfigurationError` for one outside of it."""
        now = Path(os.path.normpath(Path.cwd().resolve() / path))
        for one in (now, now.resolve()):
            if one.is_relative_to(self.tree):
                return self.root / one.relative_to(self.tree)
        raise ConfigurationError(f"{path} is outside of the repository {self.tree}: there is no {self.name} of it")


@contextmanager
def checked_out(revision: str, only: Sequence[str] | None = None) -> Generator[Revision]:
    """The files of a revision for the length of the block. only: those whose names end so, or all. Raises
    `ConfigurationError` where there is no git, no repository or no such revision."""
    tree = Path(_git("rev-parse", "--show-toplevel").strip()).resolve()
    commit = _commit(revision)
    with tempfile.TemporaryDirectory(prefix="waybill-gate-") as folder:
        root = Path(folder).resolve() / "tree"
        root.mkdir()
        environment = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        _git("read-tree", commit, environment=environment)
        names = _git("-C", str(tree), "ls-files", "-z", environment=environment).split("\0")
        wanted = [name for name in names if name and (only is None or name.endswith(tuple(only)))]
        _git(
            "-C", str(tree), "checkout-index", "-z", "--stdin", "--quiet", f"--prefix={root}/",
            environment=environment, given="\0".join(wanted),
        )  # fmt: skip
        here = root / Path.cwd().resolve().relative_to(tree)
        here.mkdir(parents=True, exist_ok=True)
        yield Revision(f"{revision} ({commit[:9]})", root, here, tree)


def _commit(revision: str) -> str:
    try:
        return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    except ConfigurationError:
        raise ConfigurationError(
            f"git knows no revision {revision!r} here. A clone of one commit only knows no other: fetch it first "
            f"(git fetch origin), in GitHub Actions with `fetch-depth: 0` of actions/checkout"
        ) from None


def _git(*arguments: str, environment: dict[str, str] | None = None, given: str | None = None) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and what users give cannot be taken for an option
            ["git", *arguments],  # noqa: S607 - the user's own
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError:
        raise ConfigurationError("--against needs git, which is not installed, or not in the PATH") from None
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"git {arguments[0]} has not ended within {PATIENCE} s") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise ConfigurationError(f"--against needs a git repository that can be read, and git says: {said[:500]}")
    return done.stdout
