"""The plugin for pytest, in a session of its own."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

HEAD = """
import asyncio
import pytest
from waybill import App, Retry, Topic

names = Topic("names", str)
app = App("greeter")

@app.consume(names, retry=Retry.none())
async def greet(name):
    if name == "nobody":
        raise LookupError("whom?")
"""


@pytest.fixture
def session(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    return pytester


def run(session: pytest.Pytester, body: str) -> pytest.RunResult:
    session.makepyfile(HEAD + body)
    return session.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:timeout")


def test_a_fixture_that_is_missing_is_said_in_one_line(session: pytest.Pytester) -> None:
    result = run(session, "async def test_it(waybill_bus):\n    pass\n")
    result.assert_outcomes(errors=1)
    lines = result.outlines
    (header,) = [number for number, line in enumerate(lines) if "ERROR at setup of test_it" in line]
    assert lines[header + 1].startswith("define a fixture `waybill_app` that returns your App")
    assert lines[header + 2].startswith("====")


def test_a_failing_test_tells_what_happened_on_its_bus(session: pytest.Pytester) -> None:
    body = """
async def test_it():
    async with app.test() as bus:
        await bus.publish(names, "nobody")
        await bus.drain()
        assert bus.published(names) == ["somebody"]
"""
    result = run(session, body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*what happened on the bus of 'greeter'*",
            '#1 names "nobody", id *',
            "*greeter, attempt 1: greet raised LookupError: whom?; dead letter: retries_exhausted",
            "greet, handling #1 (attempt 1):",
            '    raise LookupError("whom?")',
        ]
    )


def test_a_failing_test_with_the_fixture_tells_it_too(session: pytest.Pytester) -> None:
    body = """
@pytest.fixture
def waybill_app():
    return app

async def test_it(waybill_bus):
    await waybill_bus.publish(names, "somebody")
    assert False
"""
    result = run(session, body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*what happened on the bus of 'greeter'*", '#1 names "somebody", id *'])


def test_a_failure_of_the_bus_tells_it_once(session: pytest.Pytester) -> None:
    body = """
async def test_it():
    async with app.test() as bus:
        bus.faults.drop(names)
"""
    result = run(session, body)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "drop(names/greeter) happened 0 of 1 times" in text
    assert "what happened on the bus" not in text


def test_a_test_without_a_bus_hears_nothing_of_the_one_before(session: pytest.Pytester) -> None:
    body = """
kept = []

async def test_it():
    async with app.test() as bus:
        kept.append(bus)
        await bus.publish(names, "somebody")

def test_another():
    assert False
"""
    result = run(session, body)
    result.assert_outcomes(passed=1, failed=1)
    assert "what happened on the bus" not in result.stdout.str()


def test_the_plugin_alone_loads_no_test_bus(session: pytest.Pytester) -> None:
    session.makepyfile("import sys\n\ndef test_it():\n    assert 'waybill.testing' not in sys.modules\n")
    session.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
