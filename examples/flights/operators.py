"""What somebody on call would ask the service while it runs, and its dead letters afterwards."""

import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from examples.flights.running import SERVICE, WAYBILL
from waybill.ops.folder import Folder

__all__ = ["asked", "counted", "settings"]

COUNTED = "waybill_settled_messages_total{"


def settings(home: Path) -> dict[str, str]:
    """Of the service: where its processes answer (each at a port that is free), and where dead letters are kept."""
    return {
        "WAYBILL_STATUS_DIR": str(home / "status"),
        "WAYBILL_OPS": "127.0.0.1:0",
        "WAYBILL_DLQ": str(home / "dlq.db"),
    }


def asked(environment: Mapping[str, str], *arguments: str) -> str:
    """What the command line says."""
    ended = subprocess.run(
        [WAYBILL, *arguments, "--app", SERVICE], env=environment, capture_output=True, text=True, check=False
    )
    return f"$ waybill {' '.join(arguments)}\n{ended.stdout or ended.stderr}"


def counted(home: Path) -> str:
    """What that process has counted that has counted most, as Prometheus reads it: one that replaced another begins at zero."""
    urls = [state.ops for state in Folder(home / "status").states() if state.ops]
    return max(map(_scraped, urls), key=len, default="no process answers")


def _scraped(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError as error:
        return f"{url}: {error}"
    counts = [line for line in lines if line.startswith(COUNTED) and not line.endswith(" 0.0")]
    return "\n".join([f"$ curl {url}/metrics", *counts])
