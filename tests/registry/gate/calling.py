"""The verbs as they are called, in this process: the entry points need not be installed."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from waybill.cli import report
from waybill.errors import WaybillError
from waybill_schema_registry.cli.schema import group

COMMAND = typer.main.get_command(group)

SERVICE = """
from pydantic import BaseModel

from waybill import App, Topic
from waybill_schema_registry.codec import Avro


class OrderPlaced(BaseModel):
    order_id: str
    cents: int


orders = Topic("orders.placed", OrderPlaced, codec=Avro("memory://"))
app = App("billing")
"""
SUBJECT = "orders.placed-value"


@dataclass(frozen=True)
class Called:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def words(self) -> str:
        """What was printed, without the breaks between lines."""
        return " ".join((self.out + self.err).split())


def call(*arguments: str) -> Called:
    """`waybill schema …` in the working directory."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), own_modules():
        try:
            code = COMMAND.main(list(arguments), standalone_mode=True)
        except WaybillError as error:
            code = report(error)
        except SystemExit as ended:
            code = ended.code
    return Called(int(code or 0), out.getvalue(), err.getvalue())


@contextlib.contextmanager
def own_modules() -> Iterator[None]:
    """Each call imports the application anew, as a process of its own would."""
    path, before = list(sys.path), set(sys.modules)
    try:
        yield
    finally:
        sys.path[:] = path
        here = str(Path.cwd())
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(here):
                del sys.modules[name]
        sys.path_importer_cache.clear()


def commit(files: Mapping[str, str], folder: Path) -> None:
    """Into a repository at the folder, which is made if need be."""
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "-b", "main")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@t.invalid", "commit", "-q", "--no-verify", "-m", "t")


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-c", "commit.gpgsign=false", *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def record(*fields: str, name: str = "Order") -> str:
    """A schema of fields such as `id:string` and `vat:int=0`."""
    made = []
    for field in fields:
        called, _, rest = field.partition(":")
        kind, given, default = rest.partition("=")
        read = json.loads(kind) if kind[0] in '[{"' else kind
        made.append({"name": called, "type": read} | ({"default": json.loads(default)} if given else {}))
    return json.dumps({"type": "record", "name": name, "fields": made})
