"""`waybill registry export` and `import`: all that a registry holds, as the records of Confluent's topic `_schemas`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated

import typer

from waybill.cli.screen import tell
from waybill.errors import ConfigurationError
from waybill_schema_registry.stores.opening import open_store
from waybill_schema_registry.stores.store import Store
from waybill_schema_registry.transfer import Imported, export_records, import_dump, written

__all__ = ["export", "import_"]

STANDARD = "-"
StoreUrl = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="WAYBILL_REGISTRY_STORE",
        show_envvar=True,
        help="sqlite:///registry.db or postgresql://user@host/database.",
    ),
]


class Form(StrEnum):
    """How records are written."""

    lines = "lines"
    console = "console"


def export(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Where the records go: one new file, or - for the output.")
    ],
    store: StoreUrl,
    form: Annotated[
        Form,
        typer.Option(
            "--form",
            help="lines: JSON, with times. console: key, tab, value, for kafka-console-producer with parse.key=true.",
        ),
    ] = Form.lines,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
) -> None:
    """Write all schemas, versions, configs and modes, with their ids, as the topic `_schemas` holds them.

    FILE appears when it is complete.
    """
    kept = open_store(store, existing=True)
    with _output(file, force=force) as output:
        count = asyncio.run(_export(kept, form.value, output))
    tell(f"{file}: {count} records")


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A dump of the topic, or - for the input.")],
    store: StoreUrl,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it, and write nothing.")] = False,
) -> None:
    """Add what a dump of the topic `_schemas` holds, with its ids and versions. All of it is checked before anything is written.

    The dump is what kafka-console-consumer prints with --property print.key=true (print.timestamp=true keeps the times), what
    kcat prints with -J, or what `waybill registry export` has written. Importing it twice is the same as once.
    """
    kept = open_store(store)
    with _input(file) as lines:
        imported = asyncio.run(_import(kept, lines, dry_run=dry_run))
    for kind, count in imported.left_out.items():
        tell(f"left out, as they mean nothing here: {count} records of the kind {kind}")
    new = f"{imported.schemas} schemas, {imported.versions} versions, {imported.settings} configs and modes"
    tell(f"{'it would add' if dry_run else 'new'}: {new}")


async def _export(store: Store, form: str, output: IO[str]) -> int:
    count = 0
    async with _opened(store):
        async for record in export_records(store):
            output.write(written(record, form) + "\n")
            count += 1
    return count


async def _import(store: Store, lines: IO[str], *, dry_run: bool) -> Imported:
    async with _opened(store):
        return await import_dump(store, lines, dry_run=dry_run)


@asynccontextmanager
async def _opened(store: Store) -> AsyncGenerator[None, None]:
    await store.open()
    try:
        yield
    finally:
        await store.close()


@contextmanager
def _output(file: str, *, force: bool) -> Generator[IO[str], None, None]:
    if file == STANDARD:
        yield sys.stdout
        return
    target = Path(os.path.abspath(file))  # noqa: PTH100 - `resolve` would follow a link that is to be replaced
    if os.path.lexists(target) and not force:
        raise ConfigurationError(f"{file}: there is such a file. Name a new one, or replace it with --force")
    part = target.with_name(f"{target.name}.part-{os.getpid()}")
    try:
        with part.open("x", encoding="utf-8") as output:
            yield output
            output.flush()
            os.fsync(output.fileno())
        part.replace(target)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def _input(file: str) -> Generator[IO[str], None, None]:
    try:
        if file == STANDARD:
            yield sys.stdin
            return
        with Path(file).open(encoding="utf-8") as lines:
            yield lines
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is no text in UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
