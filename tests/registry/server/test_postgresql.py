"""Servers over one PostgreSQL: two agree under concurrent registration, and one outlives a database that goes and comes back."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.brokers.running import Running
from tests.registry.server.processes import Server, server, until
from tests.registry.server.test_hostile import failures


@pytest.fixture(scope="module")
def url(postgres: Running) -> str:
    """A schema of its own; it goes with the server of the tests."""
    return f"{postgres.url}?schema=server_{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def both(url: str) -> Iterator[list[Server]]:
    with ExitStack() as running:
        yield [running.enter_context(server("--store", url)) for _ in range(2)]


def fixed(name: str) -> dict[str, object]:
    return {"type": "fixed", "name": name, "size": 4}


def test_two_servers_agree(both: list[Server]) -> None:
    """Each schema is registered by ten at once, half of them at each server: one id each, and no version twice."""

    def register(number: int) -> tuple[int, int]:
        which = number // 10
        return which, both[number % 2].register(f"s{which % 5}", fixed(f"F{which}"))

    for subject in range(5):
        assert both[0].ask("PUT", f"/config/s{subject}", {"compatibility": "NONE"})[0] == 200
    with ThreadPoolExecutor(20) as pool:
        found = set(pool.map(register, range(200)))
    assert len(found) == 20, "a schema got two ids"
    assert len({id_ for _, id_ in found}) == 20, "an id was given twice"
    for one in both:
        assert [one.ask("GET", f"/subjects/s{n}/versions") for n in range(5)] == [(200, [1, 2, 3, 4])] * 5
        assert {one.ask("GET", f"/schemas/ids/{id_}")[0] for _, id_ in found} == {200}


def test_what_one_erases_the_other_does_not_know(both: list[Server]) -> None:
    one, other = both
    id_ = one.register("erased", fixed("Erased"))
    assert [other.ask("GET", f"/schemas/ids/{id_}")[0] for _ in range(3)] == [200] * 3
    assert one.ask("DELETE", "/subjects/erased") == (200, [1])
    assert one.ask("DELETE", "/subjects/erased?permanent=true") == (200, [1])
    assert other.ask("GET", f"/schemas/ids/{id_}")[0] == 404
    assert other.ask("GET", "/subjects/erased/versions")[0] == 404


def test_what_postgresql_cannot_hold_is_no_failure(both: list[Server]) -> None:
    """It knows no NUL in a text, for instance."""
    assert failures(both[0]) == []


def test_a_server_that_is_killed_while_registering_loses_nothing_that_it_answered(url: str, both: list[Server]) -> None:
    answered: dict[str, int] = {}
    with server("--store", url) as victim:

        def register(number: int) -> None:
            name = f"K{number}"
            try:
                answered[name] = victim.register(f"killed-{number}", fixed(name))
            except (OSError, ValueError):  # it was killed meanwhile
                return

        with ThreadPoolExecutor(8) as pool:
            doing = [pool.submit(register, number) for number in range(2000)]
            until(lambda: len(answered) >= 40, "forty are answered")
            victim.end(signal.SIGKILL)
            for one in doing:
                one.cancel()
    assert len(set(answered.values())) == len(answered)
    after = both[0].register("killed-after", fixed("After"))
    assert after not in answered.values()
    for name, id_ in answered.items():
        assert both[0].register(f"killed-{name[1:]}", fixed(name)) == id_


@pytest.mark.disturbs
def test_a_database_that_goes_and_comes_back(url: str, both: list[Server], postgres: Running) -> None:
    one = both[0]
    id_ = one.register("before", fixed("Before"))
    postgres.kill()
    try:
        for method, path, body in (
            ("POST", "/subjects/during/versions", {"schema": '"string"'}),
            ("GET", f"/schemas/ids/{id_}", None),
            ("GET", "/subjects/before/versions/latest", None),
        ):
            status, answer = one.ask(method, path, body)
            assert (status, answer["error_code"]) in {(500, 50001), (500, 50002)}, answer
            assert "postgres:" not in answer["message"], "a password is shown"
            assert "Traceback" not in answer["message"]
        assert one.ask("GET", "/health")[0] == 503
        assert one.ask("GET", "/")[0] == 200
    finally:
        postgres.start()
    until(lambda: one.ask("GET", "/health")[0] == 200, "the server is up again")
    assert one.register("before", fixed("Before")) == id_
    assert one.register("after", fixed("AfterAll")) > id_
    assert not [line for line in one.said if "Traceback" in line]
