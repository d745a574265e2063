"""What native brokers are made of: fetched once, into a cache outside the repository, and verified.

A part is made beside its place and renamed when it is whole, so that half a fetch is never taken for a whole one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.brokers.processes import run
from tests.brokers.running import Unavailable

ONLINE = "Is the network there? Then try again."
UNPRIVILEGED = (
    "Is the network there? Without root, mmdebstrap needs uidmap or fakechroot (Debian: apt-get install uidmap); "
    "or let root fetch it once, into a folder that TEST_BROKERS_CACHE names for both."
)
POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>waybill.tests</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>{dependencies}</dependencies>
</project>
"""
DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"

HOOK = """--customize-hook=mkdir -p "$1/data"; [ -e "$1/etc/hosts" ] || echo "127.0.0.1 localhost" > "$1/etc/hosts\""""


def cache_folder() -> Path:
    """$TEST_BROKERS_CACHE, else `waybill` in $XDG_CACHE_HOME, else ~/.cache/waybill."""
    if own := os.environ.get("TEST_BROKERS_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waybill"


@contextlib.asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """One process at a time; the kernel opens the lock when its holder dies."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.1)
        yield


@dataclass(frozen=True)
class Cache:
    """A folder of parts, and where to say what is going on."""

    folder: Path
    say: Callable[[str], None]

    async def part(self, name: str, what: str, make: Callable[[Path], Awaitable[None]]) -> Path:
        """The part's folder; made by `make(folder)` if it is not there yet."""
        place, half = self.folder / name, self.folder / f"{name}.half"
        if place.exists():
            return place
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            async with locked(self.folder / f"{name}.lock"):
                if not place.exists():
                    self.say(f"{name}: fetching {what} into {self.folder}, once …")
                    begin = time.monotonic()
                    shutil.rmtree(half, ignore_errors=True)
                    await make(half)
                    half.rename(place)
                    self.say(f"{name}: … there after {time.monotonic() - begin:.0f} s, {megabytes(place)} MB.")
        except PermissionError as problem:
            raise Unavailable(f"{problem}. Name a folder that can be written with TEST_BROKERS_CACHE.") from problem
        return place

    async def tool(self, program: str, package: str) -> str:
        """The path of a program; Debian's package of it is installed when it is missing and we are root."""
        if (path := shutil.which(program)) is None:
            if os.geteuid() or not shutil.which("apt-get"):
                raise Unavailable(f"`{program}` is missing. Install it (Debian: apt-get install {package}).")
            self.folder.mkdir(parents=True, exist_ok=True)
            async with locked(self.folder / "apt.lock"):
                self.say(f"installing {package}, for `{program}` …")
                quiet = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q")
                if not any(Path("/var/lib/apt/lists").glob("*_Packages*")):
                    await run(*quiet, "update", remedy=ONLINE)
                await run(*quiet, "install", "-y", "--no-install-recommends", package, remedy=ONLINE)
            path = shutil.which(program)
        if path is None:
            raise Unavailable(f"`{program}` is not in the Debian package {package}. Install it by hand.")
        return path

    async def jars(self, name: str, digest: str, *coordinates: str) -> Path:
        """The jars of Maven's `group:artifact:version`s and of all they need; refused if they are not those of `digest`."""
        await self.tool("java", "default-jre-headless")
        maven = await self.tool("mvn", "maven")

        async def make(half: Path) -> None:
            half.mkdir()
            pom = half / "pom.xml"
            pom.write_text(POM.format(dependencies="".join(DEPENDENCY.format(*c.split(":")) for c in coordinates)))
            goal = "dependency:copy-dependencies"
            options = (f"-DoutputDirectory={half}", "-DincludeScope=runtime")
            await run(
                maven,
                "-q",
                "-B",
                "-Dstyle.color=never",
                "--strict-checksums",
                "-f",
                str(pom),
                goal,
                *options,
                remedy=ONLINE,
            )
            pom.unlink()
            if (found := digest_of(half)) != digest:
                raise Unavailable(f"The jars of {coordinates[0]} are not the known ones: {found}, expected {digest}.")

        return await self.part(name, f"{coordinates[0]} and what it needs, by Maven", make)

    async def wheels(self, name: str, requirement: str, python: str) -> Path:
        """A Python package and what it needs, unpacked, for this version of Python, at the versions of constraints.txt."""

        async def make(half: Path) -> None:
            options = ("-q", "--no-compile", "--only-binary=:all:", "--python-version", python, "--target", str(half))
            constraints = Path(__file__).parents[2] / "constraints.txt"
            await run(
                sys.executable, "-m", "pip", "install", *options, "-c", str(constraints), requirement, remedy=ONLINE
            )

        return await self.part(name, f"{requirement} and what it needs, by pip", make)

    async def debian(self, name: str, suite: str, package: str) -> Path:
        """The root folder of a small Debian with this package. Its archive's signatures are checked by apt."""
        if sys.platform != "linux":
            raise Unavailable("A Debian root folder can be used on Linux only. Start Docker, or name a broker by URL.")
        mmdebstrap = await self.tool("mmdebstrap", "mmdebstrap")

        async def make(half: Path) -> None:
            # The mirror that apt uses here, else mmdebstrap's own default.
            query = ("--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian", "Label: Debian")
            mirrors = (await run("apt-get", "indextargets", *query, remedy=ONLINE)).split()[:1]
            # In a mount namespace of its own: what it mounts is gone with it, even when it is killed.
            alone = ("unshare", "--mount", "--propagation", "private") if os.geteuid() == 0 else ()
            options = ("--quiet", "--variant=essential", f"--include={package}")
            freshness = '--aptopt=Acquire::Check-Valid-Until "false"'  # a frozen mirror is good enough for tests
            remedy = UNPRIVILEGED if os.geteuid() else ONLINE
            again = '--aptopt=Acquire::Retries "3"'
            await run(*alone, mmdebstrap, *options, freshness, again, HOOK, suite, str(half), *mirrors, remedy=remedy)

        return await self.part(name, f"{package} and what it needs, from Debian {suite}", make)


def digest_of(folder: Path) -> str:
    """One SHA-256 of the names and contents of a folder's files."""
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(folder.iterdir())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def megabytes(folder: Path) -> int:
    """How much a folder holds."""
    files = (Path(base) / name for base, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files) >> 20
