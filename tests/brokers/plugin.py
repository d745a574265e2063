"""Brokers as pytest fixtures, and a word at the end on which broker ran where.

A test gets a broker by a fixture of its name, or is marked `broker("kafka")` and calls `running("kafka")`; whoever asks
by a fixture is marked as well, so that `-m broker` selects all tests of real brokers. The brokers that the collected
tests ask for are started before the first of them, all at once: a fetch may take longer than a test may. A broker that
cannot be had skips its tests with the reason, or fails them when $CI is true. A test that ends or holds a broker is
marked `disturbs`; in the processes of pytest-xdist, no other test uses that broker meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from tests.brokers.administration import Administration
from tests.brokers.cluster import NODES, Cluster
from tests.brokers.kafka_cluster import KAFKA_NODES, KafkaCluster
from tests.brokers.providers import RECIPES
from tests.brokers.running import Running, Unavailable
from tests.brokers.session import Found, Session
from tests.brokers.strict import MANY, Faults, Strict, start
from tests.leaving_out import leave_out
from waybill_contracts.pytest_plugin import LEFT_OUT

SESSION = pytest.StashKey[Session]()
SUMMARY = pytest.StashKey[dict[str, str]]()
ACTIVE: list[Session] = []
"""The session of this process, for those who have no fixture."""
FRONTS: dict[str, Strict] = {}
"""The strict proxies of this process, by the broker behind them; they end with STARTED."""
STARTED = contextlib.ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SUMMARY] = {}
    config.addinivalue_line("markers", "broker(*names): uses these brokers; a fixture of such a name marks as well")
    config.addinivalue_line("markers", "disturbs: ends or holds its brokers, so no other test uses them meanwhile")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if names := RECIPES.keys() & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.broker(*sorted(names)))


def pytest_collection_finish(session: pytest.Session) -> None:
    config = session.config
    names = {name for item in session.items for name in wanted(item)}
    if not names or config.option.collectonly:
        return
    # The processes of one run by pytest-xdist share a name, and so the brokers.
    config.stash[SESSION] = Session(os.environ.get("PYTEST_XDIST_TESTRUNUID", secrets.token_hex(8))[:16], say(config))
    ACTIVE[:] = [config.stash[SESSION]]
    found = config.stash[SESSION].start(sorted(names))
    config.stash[SUMMARY] = {name: describe(found[name]) for name in sorted(names)}
    if hasattr(config, "workeroutput"):
        config.workeroutput["waybill_brokers"] = config.stash[SUMMARY]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with contextlib.ExitStack() as turns:
        for name in wanted(item):
            alone = item.get_closest_marker("disturbs") is not None
            turns.enter_context(item.config.stash[SESSION].turn(name, alone=alone))
        return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in wanted(item):
        item.user_properties.append((LEFT_OUT, name))
        given(item.config, name)
        item.user_properties.pop()


def pytest_unconfigure(config: pytest.Config) -> None:
    FRONTS.clear()
    STARTED.close()
    if session := config.stash.get(SESSION, None):
        session.close()
        ACTIVE.clear()
        del config.stash[SESSION]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: pytest.Session) -> None:
    """A process of pytest-xdist has ended, and left what it knows."""
    node.config.stash[SUMMARY] |= getattr(node, "workeroutput", {}).get("waybill_brokers", {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash[SUMMARY]:
        terminalreporter.section("brokers")
        for name, line in lines.items():
            terminalreporter.line(f"{name}: {line}")


def wanted(item: pytest.Item) -> list[str]:
    """The brokers of a test; always in the same order, so that nobody waits in a circle."""
    return sorted({name for mark in item.iter_markers("broker") for name in mark.args})


def say(config: pytest.Config) -> Callable[[str], None]:
    """Tell the person at the terminal, whatever is captured just now."""
    capture = config.pluginmanager.getplugin("capturemanager")

    def tell(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\nbrokers: {text}", file=sys.stderr, flush=True)

    return tell


def describe(found: Found) -> str:
    """One line on a broker, or on why there is none."""
    if isinstance(found, Running):
        where = found.url.rpartition("@")[2].rstrip("/")
        return f"{found.version or 'version unknown'}, {found.provider}, {where}, ready after {found.seconds:.1f} s"
    return f"left out: {found}" if isinstance(found, Unavailable) else f"broken: {found}"


def running(name: str) -> Running:
    """The broker, for a test that is marked with its name and has begun."""
    found = ACTIVE[0].found[name]
    if not isinstance(found, Running):
        raise found
    return found


def strict(name: str) -> Strict:
    """The strict proxy in front of `sqs` or `sns`, for a test that is marked with that name and has begun."""
    if name not in FRONTS:
        # Where calls meet, moto forgets messages, and hands out later ones first.
        calls = 1 if name == "sns" else MANY
        FRONTS[name] = STARTED.enter_context(start(running(name).url, calls))
    return FRONTS[name]


def given(config: pytest.Config, name: str) -> Running:
    """The broker, or the end of the test that asked for it."""
    found = config.stash[SESSION].start([name])[name]
    if isinstance(found, Running):
        if os.environ.get("TEST_BROKERS") == "docker" and found.provider != "container":
            pytest.fail(f"{name} is no container, as TEST_BROKERS asks for, but: {describe(found)}", pytrace=False)
        return found
    if isinstance(found, Unavailable):
        leave_out(f"{name} is left out: {found}")
    pytest.fail(f"{name}: {found}", pytrace=False)


def for_the_session(name: str, what: str) -> Any:
    """The fixture of this name, which is the broker of this name."""

    def broker(pytestconfig: pytest.Config) -> Running:
        return given(pytestconfig, name)

    broker.__doc__ = what
    return pytest.fixture(scope="session", name=name)(broker)


rabbitmq = for_the_session("rabbitmq", "RabbitMQ 4.0.")
rabbitmq43 = for_the_session("rabbitmq43", "RabbitMQ 4.3.")
kafka = for_the_session("kafka", "Kafka in KRaft mode, one node.")
sqs = for_the_session("sqs", "ElasticMQ: SQS that keeps its messages.")
sns = for_the_session("sns", "moto: SNS with SQS behind it, in memory.")
postgres = for_the_session("postgres", "PostgreSQL 17.")


def without_faults(name: str) -> Iterator[Strict]:
    """The proxy, which injects nothing before the test and after it, and counts from zero."""
    front = strict(name)
    front.forget()
    yield front
    front.inject(Faults())


@pytest.fixture
def strict_sqs(sqs: Running) -> Iterator[Strict]:
    """ElasticMQ behind a proxy that refuses what AWS refuses."""
    yield from without_faults(sqs.name)


@pytest.fixture
def strict_sns(sns: Running) -> Iterator[Strict]:
    """moto behind a proxy that refuses what AWS refuses."""
    yield from without_faults(sns.name)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.broker(name)) for name in ("rabbitmq", "rabbitmq43")])
def each_rabbitmq(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Running:
    """Both versions of RabbitMQ, one after the other."""
    return given(pytestconfig, request.param)


@pytest.fixture
def boss(each_rabbitmq: Running) -> Administration:
    """The administrator of each."""
    return Administration(each_rabbitmq)


@pytest.fixture
def vhost(boss: Administration) -> Iterator[str]:
    """The URL of a virtual host of the test's own."""
    with boss.vhost() as url:
        yield url


@pytest.fixture(params=[pytest.param(NODES, marks=pytest.mark.broker(*NODES))], ids=["three_nodes"])
def rabbitmq_cluster(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Cluster:
    """RabbitMQ 4.0 as a cluster of three nodes, natively."""
    return Cluster({name: given(pytestconfig, name) for name in request.param})


@pytest.fixture(params=[pytest.param(KAFKA_NODES, marks=pytest.mark.broker(*KAFKA_NODES))], ids=["three_nodes"])
def kafka_cluster(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> KafkaCluster:
    """Kafka as a cluster of three nodes, natively."""
    return KafkaCluster({name: given(pytestconfig, name) for name in request.param})
