"""The fan-out example, as a user runs it: four programs."""

import json
from contextlib import ExitStack
from pathlib import Path

from tests.examples.user import EXAMPLES, User, commands, lines, shown

PAGE = EXAMPLES / "fanout" / "README.md"


def test_each_service_gets_the_orders_that_were_placed_before_it_ran(tmp_path: Path) -> None:
    user = User(tmp_path, WAYBILL_URL="sqlite:///waybill.db")
    shop, backlog, *services, dead = commands(PAGE)
    waiting, handled, letters = shown(PAGE)
    assert lines(user.run(shop) + user.run(backlog)) == waiting
    with ExitStack() as stack:
        running = [stack.enter_context(user.start(service)) for service in services]
        for service in running:
            service.until("o-3")
        running[2].until("is a dead letter")
        assert [service.stop() for service in running] == [0, 0, 0]
        assert lines("".join(service.output for service in running)) == handled
    assert lines(user.run(dead)) == letters


def test_the_services_may_come_one_after_another(tmp_path: Path) -> None:
    user = User(tmp_path, WAYBILL_URL="sqlite:///waybill.db")
    shop, backlog, *services, _ = commands(PAGE)
    user.run(shop)
    left = [3, 3, 3]
    for place, service in enumerate(services):
        with user.start(service) as running:
            running.until("o-3")
            assert running.stop() == 0
        left[place] = 0
        assert [row["ready"] + row["in_flight"] for row in json.loads(user.run(f"{backlog} --json"))] == left
