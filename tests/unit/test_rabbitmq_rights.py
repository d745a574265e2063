"""The patterns of rights: which names they are for, and which not. What a role needs is shown on brokers (tests/rabbitmq)."""

from __future__ import annotations

import re

import msgspec
import pytest

from waybill.topology import Subscription, TopicSpec
from waybill_rabbitmq import names, objects
from waybill_rabbitmq.objects import Binding, Shape
from waybill_rabbitmq.rights import Rights, consuming, making, operating, publishing

ORDERS = TopicSpec("orders.placed")
GROUP = Subscription(topic=ORDERS, group="group")
PASSING = msgspec.structs.replace(GROUP, ephemeral=True)


def allowed(pattern: str, *names: str) -> list[str]:
    """Those of the names that the broker finds the pattern in, somewhere."""
    return [name for name in names if re.search(pattern, name)]


def test_nothing_is_for_no_name() -> None:
    assert Rights().patterns == ("^$", "^$", "^$")
    assert allowed(Rights().patterns[0], "orders", "waybill/lost") == []


def test_two_roles_together_have_what_each_has() -> None:
    both = publishing(ORDERS) | consuming(GROUP)
    for pattern, one, other in zip(both.patterns, publishing(ORDERS).patterns, consuming(GROUP).patterns, strict=True):
        known = ["orders.placed", "orders.placed/group", "orders.placed/group/3", "waybill/delay/07", "else"]
        assert allowed(pattern, *known) == [name for name in known if allowed(one, name) or allowed(other, name)]


def test_a_pattern_is_for_whole_names_and_a_point_for_a_point() -> None:
    _, write, _ = publishing(ORDERS).patterns
    assert allowed(write, "orders.placed", "ordersXplaced", "my.orders.placed", "orders.placed/group") == [
        "orders.placed"
    ]


def test_a_publisher_may_write_to_every_step_of_the_ladder_and_to_nothing_else_of_it() -> None:
    _, write, _ = publishing(ORDERS).patterns
    steps = [names.step(level) for level in range(28)]
    assert allowed(write, *steps, names.RETURN, names.LOST) == steps


def test_a_consumer_may_read_its_queues_whatever_their_number_and_no_dead_letters() -> None:
    _, _, read = consuming(GROUP).patterns
    queues = [*Shape(0).queues(GROUP), *Shape(256).queues(GROUP)]
    beside = [names.dead(ORDERS, "group"), names.rest(ORDERS, "group"), names.inbox(ORDERS, "group2")]
    assert allowed(read, *queues, *beside) == queues


def test_only_who_consumes_in_order_may_make_anything_and_that_is_what_its_members_agree_by() -> None:
    configure, _, _ = consuming(msgspec.structs.replace(GROUP, ordered=True)).patterns
    made = [item.name for item in objects.group(GROUP, Shape(2), delivery_limit=9) if not isinstance(item, Binding)]
    agreeing = ["orders.placed/group/turn", "orders.placed/group/members"]
    assert allowed(configure, *agreeing, *made) == agreeing
    assert consuming(GROUP).configure == frozenset()


@pytest.mark.parametrize("partitions", [0, 2])
def test_a_group_of_his_own_is_made_by_who_consumes_it(partitions: int) -> None:
    """Under a name that is made at run time."""
    at_run_time = msgspec.structs.replace(PASSING, group="group.0a1b2c3d4e5f")
    rights = consuming(PASSING)
    configure, write, read = rights.patterns
    for item in objects.group(at_run_time, Shape(partitions), delivery_limit=9):
        if isinstance(item, Binding):
            assert allowed(write, item.destination)
            assert allowed(read, item.source)
        else:
            assert allowed(configure, item.name)
    lasting = [item.name for item in objects.group(GROUP, Shape(2), delivery_limit=9) if not isinstance(item, Binding)]
    assert allowed(configure, *lasting) == []


def test_an_operator_may_take_dead_letters_and_no_others() -> None:
    _, write, read = operating(GROUP).patterns
    assert allowed(read, "orders.placed/group", "orders.placed/group/0", "orders.placed/group/dead") == [
        "orders.placed/group/dead"
    ]
    assert allowed(write, "orders.placed/group", "orders.placed/group/dead") == ["orders.placed/group"]


def test_who_makes_topology_may_make_all_of_it_and_nothing_of_other_topics() -> None:
    rights = making([ORDERS, TopicSpec("payments")])
    made = [
        *objects.infrastructure(),
        *objects.topic(ORDERS),
        *objects.group(GROUP, Shape(2), delivery_limit=9),
        *objects.topic(TopicSpec("payments")),
    ]
    named = {item.name for item in made if not isinstance(item, Binding)}
    for pattern in rights.patterns:
        assert set(allowed(pattern, *named)) == named
        assert allowed(pattern, "orders", "orders.placed2", "payments.made", "waybill") == []
