"""`waybill circuit`: the circuit breakers of an application that runs, seen and ordered."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from waybill.cli import options
from waybill.cli.choosing import by_whom
from waybill.cli.operators import StatusDir, Urls, Where, states_of
from waybill.errors import BrokerUnavailable, ConfigurationError
from waybill.ops.circuits import summed
from waybill.ops.folder import Folder, Order, Wanted
from waybill.ops.state import Circuit, State

__all__ = ["group"]

COLUMNS = ("circuit", "state", "processes", "groups", "why")
PATIENCE = 5.0
"""Seconds in which the processes, which look every second, have followed."""

Name = Annotated[str, typer.Argument(metavar="CIRCUIT", help="Its name.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for whoever finds it so.")]

group = typer.Typer(help="See the circuit breakers of an application that runs, and open or close them.")


@group.command(
    "list", epilog="Example: waybill circuit list\n\nExample: waybill circuit list --ops http://127.0.0.1:9100 --json"
)
def show(
    *, status_dir: StatusDir = None, ops: Urls = None, app: options.App = None, as_json: options.Json = False
) -> None:
    """Show each circuit, how it is in the processes that live, and which groups wait while it is open."""
    from waybill.cli.screen import document, table  # noqa: PLC0415 - `waybill --help` need not load it

    found = summed(Where(status_dir, ops, app).states())
    if as_json:
        document([_object(name, held) for name, held in found.items()])
    else:
        table(COLUMNS, [_row(name, held) for name, held in found.items()], beneath=COLUMNS[4:])


@group.command("open", epilog="Example: waybill circuit open bank --reason 'their maintenance, until 10:00'")
def hold_open(
    circuit: Name,
    *,
    reason: Reason = "",
    status_dir: StatusDir = None,
    ops: Urls = None,
    app: options.App = None,
    as_json: options.Json = False,
) -> None:
    """Let nothing pass until `close` or `auto`: the groups that need it fetch nothing, and no message loses an attempt.

    It stands, for processes that start later as well, where the processes share a folder.
    """
    _order(_now(circuit, "open", reason), Where(status_dir, ops, app), as_json=as_json)


@group.command("close", epilog="Example: waybill circuit close bank --reason 'it counts what is no failure'")
def hold_closed(
    circuit: Name,
    *,
    reason: Reason = "",
    status_dir: StatusDir = None,
    ops: Urls = None,
    app: options.App = None,
    as_json: options.Json = False,
) -> None:
    """Let everything pass, whatever fails, until `open` or `auto`."""
    _order(_now(circuit, "close", reason), Where(status_dir, ops, app), as_json=as_json)


@group.command("auto", epilog="Example: waybill circuit auto bank")
def let_go(
    circuit: Name,
    *,
    reason: Reason = "",
    status_dir: StatusDir = None,
    ops: Urls = None,
    app: options.App = None,
    as_json: options.Json = False,
) -> None:
    """Let it open and close by itself again."""
    _order(_now(circuit, "auto", reason), Where(status_dir, ops, app), as_json=as_json)


def _row(name: str, held: Sequence[tuple[State, Circuit]]) -> list[str]:
    counted = Counter(circuit.state for _, circuit in held)
    state = next(iter(counted)) if len(counted) == 1 else ", ".join(f"{n} {state}" for state, n in counted.items())
    groups = sorted({group for _, circuit in held for group in circuit.groups})
    why = next((_why(circuit) for _, circuit in held if circuit.why), "")
    return [name, state, str(len(held)), ", ".join(groups), why]


def _why(circuit: Circuit) -> str:
    """Without the name and the state, which stand beside it."""
    return (circuit.why or "").removeprefix(f"the circuit {circuit.name!r} is {circuit.state}: ")


def _object(name: str, held: Sequence[tuple[State, Circuit]]) -> dict[str, Any]:
    return {
        "circuit": name,
        "groups": sorted({group for _, circuit in held for group in circuit.groups}),
        "processes": [
            {
                "app": state.app,
                "host": state.host,
                "pid": state.pid,
                "worker": state.worker,
                "state": circuit.state,
                "why": circuit.why,
            }
            for state, circuit in held
        ],
    }


def _order(order: Order, where: Where, *, as_json: bool) -> None:
    from waybill.cli.screen import document, line  # noqa: PLC0415 - `waybill --help` need not load it

    found = _told(order, where.ops) if where.ops else _left(order, where.folder)
    if as_json:
        document([_object(order.circuit, found)])
        return
    for state, circuit in found:
        line(f"{state.app} (pid {state.pid}): {circuit.name} is {circuit.state}")
    if not found:
        line(f"no process with a circuit runs there: {order.circuit} is ordered {order.to} for those that start")


def _now(circuit: str, to: Wanted, reason: str) -> Order:
    return Order(circuit=circuit, to=to, reason=reason, by=by_whom(None), at=time.time())


def _told(order: Order, urls: Sequence[str]) -> list[tuple[State, Circuit]]:
    from waybill.ops.remote import ask, tell  # noqa: PLC0415 - HTTP is slow to import

    return [(ask(url), tell(url, order)) for url in urls]


def _left(order: Order, folder: Folder) -> Sequence[tuple[State, Circuit]]:
    """Once all that live have followed. Raises `ConfigurationError`, and `BrokerUnavailable` where one does not follow."""
    known = summed(states_of(folder))
    if known and order.circuit not in known:
        raise ConfigurationError(f"no process has a circuit {order.circuit!r}. Known: {', '.join(known)}")
    folder.give(order)
    end = time.monotonic() + PATIENCE
    while known:
        held = summed(states_of(folder)).get(order.circuit, [])
        behind = [state for state, circuit in held if state.written < order.at or not _follows(circuit, order.to)]
        if not behind:
            return held
        if time.monotonic() > end:
            pids = ", ".join(str(state.pid) for state in behind)
            raise BrokerUnavailable(f"not followed within {PATIENCE:g} s by pid {pids}: the order stands")
        time.sleep(0.1)
    return []


def _follows(circuit: Circuit, to: Wanted) -> bool:
    forced = {"open": "forced-open", "close": "forced-closed"}.get(to)
    return circuit.state == forced if forced else not circuit.state.startswith("forced")
