"""A small Debian in a folder, entered by chroot in a mount namespace of its own."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

__all__ = ["NOBODY", "inside"]

NOBODY = 65534
"""Debian's user and group with this number may do nothing in particular."""


def inside(root: Path, folder: Path, environment: Mapping[str, object], *, modest: bool = False) -> list[str]:
    """What stands before a command that has `root` as its root folder, `folder` on its /data, and this environment.

    `modest`: as `NOBODY`, for what refuses to run as root. Every step execs, so the process id stays.
    """
    here, there = shlex.quote(str(folder)), shlex.quote(str(root))
    alone = ["--mount", "--propagation", "private"]
    proc = f"mount -t proc proc {there}/proc"
    enter = f"chroot {there}"
    if os.geteuid():
        alone, proc = ["--user", "--map-root-user", *alone], f"mount --rbind /proc {there}/proc"
    if modest:
        enter = _modest(there)
    given = [f"{name}={value}" for name, value in {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **environment}.items()]
    script = f'mount --bind {here} {there}/data && {proc} && exec {enter} env -i {shlex.join(given)} "$@"'
    # A new user namespace forgets whom it dies with, so that is said inside.
    return ["unshare", *alone, "setpriv", "--pdeathsig", "KILL", "sh", "-ec", script, "sh"]


def _modest(there: str) -> str:
    """Enter as `NOBODY`. Whoever changes its user forgets whom it dies with, so that is said again."""
    if os.geteuid():  # there is no other user to become; one more namespace shows us under another number
        return f"unshare --user --map-user={NOBODY} --map-group={NOBODY} --root={there} setpriv --pdeathsig KILL"
    return f"chroot {there} setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --pdeathsig KILL"
