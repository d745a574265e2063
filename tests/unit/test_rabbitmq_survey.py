"""What the management API shows, held against what should be there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from waybill.topology import Subscription, TopicSpec
from waybill_rabbitmq import objects
from waybill_rabbitmq.objects import Binding, Exchange, Objects, Queue, Shape
from waybill_rabbitmq.survey import Different, Survey

ORDERS = TopicSpec("orders", max_length=9)
GROUP = Subscription(topic=ORDERS, group="group")
ALL: Objects = (
    *objects.infrastructure(),
    *objects.topic(ORDERS),
    *objects.group(GROUP, Shape(2), delivery_limit=100),
)


def shown(items: Iterable[Exchange | Queue | Binding]) -> dict[str, list[dict[str, Any]]]:
    """As the API shows them, with much beside it."""
    there: dict[str, list[dict[str, Any]]] = {"exchanges": [], "queues": [], "bindings": []}
    for item in items:
        if isinstance(item, Binding):
            ends = {"source": item.source, "destination": item.destination, "destination_type": item.to}
            there["bindings"].append({**ends, "routing_key": item.key, "arguments": {}, "properties_key": "~"})
            continue
        said = {"name": item.name, "durable": True, "auto_delete": False, "arguments": dict(item.arguments)}
        if isinstance(item, Exchange):
            there["exchanges"].append({**said, "type": item.kind, "internal": False})
        else:
            there["queues"].append({**said, "type": "quorum", "state": "running"})
    return there


def survey(items: Iterable[Exchange | Queue | Binding] = ALL, **changed: Any) -> Survey:
    """Of a virtual host with these; `changed`: of the queue `orders/group/1`."""
    there = shown(items)
    for queue in there["queues"]:
        if queue["name"] == "orders/group/1":
            queue.update(changed)
    return Survey.of(**there)


def test_what_is_there_as_it_should_be_is_neither_missing_nor_another() -> None:
    assert survey().missing(ALL) == []
    assert survey().differences(ALL) == []


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        (Exchange("orders/group/rest", "fanout"), "exchange orders/group/rest"),
        (Queue("orders/group/1", {}), "queue orders/group/1"),
        (objects.share(GROUP), "the binding of exchange orders/group to orders by '#'"),
        (
            Binding("orders/group", "orders/group/1", "#.1", "queue"),
            "the binding of queue orders/group/1 to orders/group by '#.1'",
        ),
    ],
)
def test_what_is_gone_is_named_and_nothing_else(gone: Exchange | Queue | Binding, named: str) -> None:
    def is_gone(item: Exchange | Queue | Binding) -> bool:
        if isinstance(gone, Binding) or isinstance(item, Binding):
            return item == gone
        return type(item) is type(gone) and item.name == gone.name

    left = [item for item in ALL if not is_gone(item)]
    assert len(left) == len(ALL) - 1
    assert survey(left).missing(ALL) == [named]
    assert survey(left).differences(ALL) == []


def test_a_queue_is_not_the_exchange_of_its_name() -> None:
    """Dead letters have both."""
    queues_only = [item for item in ALL if not isinstance(item, Exchange)]
    assert "exchange orders/group/dead" in survey(queues_only).missing(ALL)
    assert "queue orders/group/dead" not in survey(queues_only).missing(ALL)


ARGUMENTS = next(dict(i.arguments) for i in ALL if isinstance(i, Queue) and i.name == "orders/group/1")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"durable": False}, Different("durable", "true", "false")),
        ({"auto_delete": True}, Different("auto_delete", "false", "true")),
        ({"arguments": ARGUMENTS | {"x-max-length": 5}}, Different("x-max-length", "9", "5")),
        ({"arguments": ARGUMENTS | {"x-expires": 1000}}, Different("x-expires", "none", "1000")),
        (
            {"arguments": {name: value for name, value in ARGUMENTS.items() if name != "x-single-active-consumer"}},
            Different("x-single-active-consumer", "true", "none"),
        ),
    ],
)
def test_what_is_another_is_told_with_both_values(changed: dict[str, Any], told: Different) -> None:
    assert survey(**changed).differences(ALL) == [("orders/group/1", told)]
    assert survey(**changed).missing(ALL) == []


def test_every_argument_that_differs_is_told() -> None:
    found = survey(durable=False, arguments={}).differences(ALL)
    assert [name for name, _ in found] == ["orders/group/1"] * (1 + len(ARGUMENTS))


def test_an_exchange_of_another_kind_is_told() -> None:
    others = [Exchange("orders", "fanout") if getattr(item, "name", "") == "orders" else item for item in ALL]
    assert survey(others).differences(ALL) == [("orders", Different("type", "topic", "fanout"))]
