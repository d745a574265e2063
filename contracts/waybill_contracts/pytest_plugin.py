"""Gathers what came of each promise, and holds it against what is written down.

    pytest --conformance docs/conformance.json            fail where a run has seen something else than is written there
    pytest --conformance docs/conformance.json --conformance-write      write down what it has seen

A run that shows only some of the promises is compared for those alone. With pytest-xdist the rows travel with the reports.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from waybill_contracts.ledger import Row, differences, page, read, write

__all__ = ["pytest_addoption", "pytest_configure"]

PROPERTY = "waybill_ledger"
SHOWS = "waybill_contract"
"""An attribute of the tests that `contract` makes; pytest carries it in their reports."""
LEFT_OUT = "waybill_left_out"
"""A property of a test that may be skipped, since its broker cannot be had on this machine."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("waybill contracts")
    group.addoption("--conformance", metavar="FILE", help="hold what the promises came to against this ledger")
    group.addoption(
        "--conformance-write", action="store_true", help="write it down there instead, and as FILE with .md"
    )


def pytest_configure(config: pytest.Config) -> None:
    file: str | None = config.getoption("--conformance")
    if file and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Ledger(Path(file)), "waybill-ledger")


class Ledger:
    """The rows of one run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[Row] = []
        self._skipped: list[str] = []
        self._told: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        rows = list(_rows(report.user_properties)) if report.when == "call" else []
        self._rows += rows
        if report.skipped and SHOWS in report.keywords and LEFT_OUT not in dict(report.user_properties):
            self._skipped.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not (self._rows or self._skipped):
            return
        kept = read(self._path) if self._path.exists() else []
        shown = {(row.id, row.broker) for row in self._rows}
        if session.config.getoption("--conformance-write"):
            from waybill_contracts.proving import load_all  # noqa: PLC0415 - only here
            from waybill_contracts.registry.proving import load_promises  # noqa: PLC0415

            load_all()
            load_promises()  # the page names them all, whichever have been shown
            rows = [*self._rows, *(row for row in kept if (row.id, row.broker) not in shown)]
            write(self._path, rows)
            self._path.with_suffix(".md").write_text(page(rows))
            self._told = [f"{len(self._rows)} rows written to {self._path}"]
            return
        found = differences([row for row in kept if (row.id, row.broker) in shown], self._rows)
        self._told = [*found, *(f"{test} was skipped, and has no row" for test in self._skipped)]
        if self._told:
            self._told.append(f"write down what is so now: pytest --conformance {self._path} --conformance-write")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._told:
            terminalreporter.section("conformance")
            for line in self._told:
                terminalreporter.write_line(line)


def _rows(properties: Iterable[tuple[str, Any]]) -> Iterable[Row]:
    for name, value in properties:
        if name == PROPERTY:
            yield msgspec.convert(value, Row)
