"""`waybill registry serve`: the registry over HTTP; `waybill registry password`: what a file of users holds."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Annotated

import msgspec
import typer

from waybill.cli.run import configure_logging
from waybill.cli.screen import tell
from waybill.errors import ConfigurationError
from waybill.settings import safe_url

__all__ = ["password", "serve"]

STORE = "sqlite:///registry.db"
EXTRA = "The server needs its extra. Install it with: pip install 'waybill[registry]'"
MEBIBYTE = 1024 * 1024

LISTENING = "Where it listens"
SAFETY = "Who may do what"
LIMITS = "What clients may use"


def serve(  # noqa: PLR0917 - typer calls it by name
    store: Annotated[
        str,
        typer.Option(
            "--store",
            metavar="URL",
            envvar="WAYBILL_REGISTRY_STORE",
            show_envvar=True,
            help="memory://, sqlite:///registry.db or postgresql://user@host/database.",
        ),
    ] = STORE,
    host: Annotated[
        str, typer.Option("--host", help="The address; 0.0.0.0 for all.", rich_help_panel=LISTENING)
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0: one that is free.", rich_help_panel=LISTENING)
    ] = 8081,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, help="Processes.", rich_help_panel=LISTENING)
    ] = 1,
    certificate: Annotated[
        str | None, typer.Option("--certificate", metavar="FILE", help="For TLS, as PEM.", rich_help_panel=LISTENING)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="FILE", help="Of the certificate, if not in its file.", rich_help_panel=LISTENING
        ),
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(
            "--users",
            metavar="FILE",
            envvar="WAYBILL_REGISTRY_USERS",
            show_envvar=True,
            help="Users and their rights, as TOML. Without, everybody may do everything.",
            rich_help_panel=SAFETY,
        ),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every write.", rich_help_panel=SAFETY)] = False,
    body: Annotated[
        int, typer.Option("--max-body", metavar="MIB", min=1, help="Of one request.", rich_help_panel=LIMITS)
    ] = 16,
    busy: Annotated[
        int,
        typer.Option(
            "--max-requests", metavar="N", min=1, help="At once; more are answered 503.", rich_help_panel=LIMITS
        ),
    ] = 512,
    connections: Annotated[
        int, typer.Option("--max-connections", metavar="N", min=1, help="At once.", rich_help_panel=LIMITS)
    ] = 10_000,
    head_time: Annotated[
        float,
        typer.Option(
            "--head-timeout",
            metavar="SECONDS",
            min=0.1,
            help="Until a request's head is there.",
            rich_help_panel=LIMITS,
        ),
    ] = 10.0,
    body_time: Annotated[
        float,
        typer.Option(
            "--body-timeout", metavar="SECONDS", min=0.1, help="Until its body is there.", rich_help_panel=LIMITS
        ),
    ] = 60.0,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", metavar="SECONDS", min=0.1, help="Until an operation is given up.", rich_help_panel=LIMITS
        ),
    ] = 30.0,
) -> None:
    """Serve a schema registry over HTTP, as clients of Confluent's Schema Registry expect it, until SIGTERM or SIGINT.

    Two secrets come by the environment alone: WAYBILL_REGISTRY_ADMINISTRATOR, as name:password, is a user who may do
    everything; WAYBILL_REGISTRY_KEY_PASSWORD opens the key.
    """
    try:
        from waybill_schema_registry.server.serving import Serving, check, listener, run  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"httptools", "starlette", "uvicorn", "uvloop"}:
            raise
        raise ConfigurationError(EXTRA) from None
    serving = Serving(
        store=store,
        host=host,
        port=port,
        certificate=certificate,
        key=key,
        key_password=os.environ.get("WAYBILL_REGISTRY_KEY_PASSWORD"),
        users=users,
        administrator=os.environ.get("WAYBILL_REGISTRY_ADMINISTRATOR"),
        read_only=read_only,
        body=body * MEBIBYTE,
        busy=busy,
        connections=connections,
        head_time=head_time,
        body_time=body_time,
        timeout=timeout,
    )
    if workers > 1 and store.partition(":")[0].strip().lower() == "memory":
        raise ConfigurationError("each worker has a memory of its own: use --workers 1, or another --store")
    if key is not None and certificate is None:
        raise ConfigurationError("--key is the key of a certificate: name that as well, with --certificate")
    configure_logging()
    with listener(host, port) as listening:
        port = listening.getsockname()[1]
        where = f"{'https' if certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

        def ready() -> None:
            tell(f"schema registry at {where}, kept in {safe_url(store)}")

        if workers == 1:
            run(serving, listening, ready)
            return
    with listener(host, port, shared=True):  # it never listens; workers come and go, and the port stays ours
        asyncio.run(check(serving))
        ready()
        raise typer.Exit(_supervise(msgspec.structs.replace(serving, port=port), workers))


def _supervise(serving: object, workers: int) -> int:
    from waybill.supervisor import Orders, Supervisor  # noqa: PLC0415 - one process needs no supervisor

    orders = Orders(
        app="",
        workers=workers,
        module="waybill_schema_registry.server.worker",
        further=msgspec.to_builtins(serving),
    )
    return asyncio.run(Supervisor(orders, logging.getLogger("waybill.supervisor").info).run())


def password(
    token: Annotated[
        bool, typer.Option("--token", help="Make a new token, and its hash, instead of asking for a password.")
    ] = False,
) -> None:
    """Make the hash of a password, or a token and its hash, for a file of users."""
    import secrets  # noqa: PLC0415

    from waybill_schema_registry.server.passwords import hash_password, hash_token  # noqa: PLC0415

    if token:
        made = secrets.token_urlsafe(32)
        sys.stdout.write(f"token for the client: {made}\ntoken for the file:   {hash_token(made)}\n")
        return
    given = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    sys.stdout.write(hash_password(given) + "\n")
