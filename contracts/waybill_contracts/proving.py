"""From a promise and a harness to a row of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from waybill import CapabilityError
from waybill_contracts.behaviour import BEHAVIOURS, NEEDS, Behaviour
from waybill_contracts.behaviours import SECTIONS
from waybill_contracts.bench import PATIENCE, Bench
from waybill_contracts.harness import DISTURBING, Broker, Harness
from waybill_contracts.ledger import Result, Row
from waybill_contracts.linking import linked

if TYPE_CHECKING:
    import pytest

__all__ = ["cases", "contract", "load_all", "load_behaviours", "load_faults", "prove", "survives"]


class Case(Protocol):
    """What a test is made of."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def verbs(self) -> tuple[str, ...]: ...
    @property
    def limit(self) -> float: ...


P = TypeVar("P", bound=Case)


def load_behaviours() -> dict[str, Behaviour]:
    """All of them, by id, in the order of their sections."""
    for section in SECTIONS:
        import_module(f"waybill_contracts.behaviours.{section}")  # registers them; they import this package
    return BEHAVIOURS


def load_faults() -> dict[str, Behaviour]:
    """All faults to survive, by id, in the order of the table."""
    from waybill_contracts.faults.fault import FAULTS  # noqa: PLC0415 - it imports this package

    import_module("waybill_contracts.faults.rows")  # registers them
    return dict(sorted(FAULTS.items()))


def load_all() -> dict[str, Behaviour]:
    """All promises, then all faults."""
    return load_behaviours() | load_faults()


async def prove(harness: Harness, promise: Behaviour, folder: Path, *, patience: float = PATIENCE) -> Row:
    """Show one promise, or that it is refused. Raises whatever shows that it is broken.

    patience: as of `Bench`; mutants are given less.
    """
    if reason := harness.waived.get(promise.id):
        return _row(harness, promise, "", Result.WAIVED, reason)
    async with harness.broker(folder) as given, linked(given, promise.verbs) as broker:
        cannot = [reason for verb in promise.verbs if (reason := _cannot(broker, verb))]
        if cannot:
            return _row(harness, promise, broker.version, Result.WAIVED, "; ".join(dict.fromkeys(cannot)))
        with Bench(broker, folder, patience=patience) as bench:
            async with asyncio.timeout(promise.limit):
                lacking = [need for need in promise.needs if not NEEDS[need](bench.can)]
                if lacking:
                    await _refused(bench, promise, lacking)
                    return _row(harness, promise, broker.version, Result.REFUSED, f"it lacks: {', '.join(lacking)}")
                await promise.check(bench)
    result = Result.PARTIAL if bench.notes else Result.PASS
    return _row(harness, promise, broker.version, result, "; ".join(bench.notes))


async def _refused(bench: Bench, promise: Behaviour, lacking: list[str]) -> None:
    if lacking == ["durable"]:  # nobody can ask for it; but it is said before anything starts
        app, _ = bench.consumer(bench.topic())
        said = dict(app.explain()[0].facts)["a restart of the broker"]
        assert "LOST" in said, f"it is not durable, and explain says: {said}"
        return
    try:
        await promise.check(bench)
    except CapabilityError:
        return
    raise AssertionError(f"{promise.id}: it lacks {', '.join(lacking)}, and was not refused with a CapabilityError")


def _cannot(broker: Broker, verb: str) -> str | None:
    if verb in broker.cannot:
        return broker.cannot[verb]
    if verb != "processes" and getattr(broker, verb) is None:
        return f"the harness has no `{verb}`"
    return None


def _row(harness: Harness, promise: Behaviour, version: str, result: Result, note: str) -> Row:
    return Row(id=promise.id, broker=harness.name, version=version, provider=harness.provider, result=result, note=note)


def contract(harness: Harness, *, disturbing: pytest.MarkDecorator | None = None) -> Callable[..., Any]:
    """A test function, with a case for each promise: `test_contract = contract(MyHarness())` in a test module.

    disturbing: the mark of cases that end or hold the broker, where tests that run at the same time share it.
    """
    return cases(load_behaviours().values(), lambda promise, folder: prove(harness, promise, folder), disturbing)


def survives(harness: Harness, *, disturbing: pytest.MarkDecorator | None = None) -> Callable[..., Any]:
    """A test function, with a case for each fault that must be survived: `test_survives = survives(MyHarness())`.

    disturbing: as of `contract`.
    """
    return cases(load_faults().values(), lambda promise, folder: prove(harness, promise, folder), disturbing)


def cases(
    promises: Iterable[P],
    show: Callable[[P, Path], Awaitable[Row]],
    disturbing: pytest.MarkDecorator | None = None,
) -> Callable[..., Any]:
    """A test function, with a case for each promise. show: in an empty folder; it raises what shows that it is broken."""
    import pytest  # noqa: PLC0415 - needed by tests only

    from waybill_contracts.pytest_plugin import PROPERTY, SHOWS  # noqa: PLC0415

    def marks(promise: P) -> list[pytest.MarkDecorator]:
        found = [disturbing] if disturbing is not None and DISTURBING & set(promise.verbs) else []
        if find_spec("pytest_timeout"):  # where it is not there, `show` ends it
            found.append(pytest.mark.timeout(promise.limit + 60))
        return found

    parameters = [pytest.param(p, id=f"{p.id}-{p.name}", marks=marks(p)) for p in promises]

    @pytest.mark.asyncio  # in whatever mode pytest-asyncio is
    @pytest.mark.parametrize("promise", parameters)
    async def test_contract(promise: P, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        row = await show(promise, tmp_path)
        request.node.user_properties.append((PROPERTY, msgspec.to_builtins(row)))

    setattr(test_contract, SHOWS, True)
    return test_contract
