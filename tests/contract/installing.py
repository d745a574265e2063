"""A distribution of its own, installed for the length of a test run: what it says of itself is found as its users find it."""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["installed"]


VARIABLE = "TEST_INSTALLED"
"""Where it is, for the processes that the one which installed it starts."""


@cache
def installed(project: Path) -> Path:
    """Build and install the project in `project`, for this process and those it starts. Returns where it is."""
    variable = f"{VARIABLE}_{project.name.upper()}"
    if variable in os.environ:  # our parent has, and Python has read its PYTHONPATH
        return Path(os.environ[variable])
    folder = tempfile.mkdtemp(prefix="waybill-installed-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    quiet = ["-q", "--disable-pip-version-check", "--no-input", "--no-index"]
    command = [sys.executable, "-m", "pip", "install", *quiet, "--no-deps", "--no-build-isolation", "--target", folder]
    subprocess.run([*command, str(project)], check=True)
    sys.path.append(folder)
    os.environ[variable] = folder
    os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), folder])
    importlib.invalidate_caches()
    return Path(folder)
