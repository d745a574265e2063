"""A distribution of its own, installed for the length of a test run: what it says of itself is found as its users find it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["installed"]


@cache
def installed(project: Path) -> Path:
    """Build and install the project in `project`, for this process and those it starts. Returns where it is."""
    folder = tempfile.mkdtemp(prefix="waybill-installed-")
    quiet = ["-q", "--disable-pip-version-check", "--no-input", "--no-index"]
    command = [sys.executable, "-m", "pip", "install", *quiet, "--no-deps", "--no-build-isolation", "--target", folder]
    subprocess.run([*command, str(project)], check=True)
    sys.path.append(folder)
    os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), folder])
    importlib.invalidate_caches()
    return Path(folder)
