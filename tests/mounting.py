"""A small disk of its own for a test, where this user may mount one."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Generator
from pathlib import Path

from tests.leaving_out import leave_out


@contextlib.contextmanager
def disk(folder: Path, size: str) -> Generator[Path, None, None]:
    """It lies in memory, at `folder`, which is made. size: such as `8m`."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        leave_out(f"this user may not mount a disk here ({done.stderr.strip()}): run the test as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
