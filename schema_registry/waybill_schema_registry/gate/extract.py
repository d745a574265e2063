"""The models of another revision, imported in a process of their own: `python -m waybill_schema_registry.gate.extract`.

Arguments: the application, the root of its files as they were, the root of the working tree, and the file to write to.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from waybill.errors import ConfigurationError, WaybillError, one_line
from waybill_schema_registry.gate.application import from_application, is_installed, modules_below
from waybill_schema_registry.gate.contract import Contract
from waybill_schema_registry.gate.revision import Revision

__all__ = ["contracts_at"]

PATIENCE = 300
"""Seconds."""


class Extracted(msgspec.Struct, frozen=True):
    """absent: the application's module was not there at all, so it had no contracts. trouble: it could not be imported."""

    contracts: tuple[Contract, ...] = ()
    absent: bool = False
    trouble: str = ""


def contracts_at(reference: str, revision: Revision) -> list[Contract] | None:
    """The contracts of an application at a revision; None where it was not there. With the packages that are installed now.
    Raises `ConfigurationError` where its models cannot be imported."""
    with tempfile.TemporaryDirectory(prefix="waybill-gate-") as folder:
        answer = Path(folder) / "contracts.json"
        command = [sys.executable, "-m", __name__, reference, str(revision.root), str(revision.tree), str(answer)]
        try:
            done = subprocess.run(  # noqa: S603 - our own module
                command,
                cwd=revision.here,
                env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise ConfigurationError(
                f"importing {reference} as of {revision.name} has not ended within {PATIENCE} s: what it does when it is imported "
                f"must end"
            ) from None
        if not answer.exists():
            said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise _unimportable(reference, revision, said[0])
        found = msgspec.json.decode(answer.read_bytes(), type=Extracted)
    if found.trouble:
        raise _unimportable(reference, revision, found.trouble)
    return None if found.absent else list(found.contracts)


def _unimportable(reference: str, revision: Revision, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the models of {reference} as of {revision.name} cannot be imported with the packages that are installed here: "
        f"{why[:500]}. Compare .avsc files, or with a registry, or with a later revision"
    )


def _move(root: Path, tree: Path) -> None:
    """Where modules are looked for: whatever lies in the working tree is looked for among the old files instead."""
    moved: list[str] = []
    for entry in sys.path:
        path = Path(entry or os.getcwd()).resolve()  # noqa: PTH109 - sys.path holds texts
        if path.is_relative_to(tree) and not path.is_relative_to(root):
            there = root / path.relative_to(tree)
            moved.extend([str(there)] if there.exists() else [entry] if is_installed(path) else [])
        else:
            moved.append(entry)
    sys.path[:] = moved


def _extracted(reference: str, root: Path, tree: Path) -> Extracted:
    _move(root, tree)
    try:
        contracts = from_application(reference)
    except ConfigurationError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and f"{reference.partition(':')[0]}.".startswith(
            f"{missing.name}."
        ):
            return Extracted(absent=True)
        return Extracted(trouble=one_line(error))
    except WaybillError as error:
        return Extracted(trouble=one_line(error))
    if strays := [file for file in modules_below(tree) if not file.is_relative_to(root)]:
        return Extracted(trouble=f"{strays[0]} of the working tree was imported, not what it was then")
    return Extracted(contracts=tuple(contracts))


if __name__ == "__main__":
    named, files, working, out = sys.argv[1:]
    Path(out).write_bytes(msgspec.json.encode(_extracted(named, Path(files), Path(working))))
