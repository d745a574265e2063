"""What things are called on RabbitMQ, and where a delayed message goes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybill import App, CapabilityError, Settings, Topic
from waybill.addressing import murmur2, partition_of
from waybill.topology import TopicSpec, matches
from waybill_rabbitmq import ladder, names

NAMES = ["a", "a.b", "a-b", "A.b", "a.b.c", "dead", "0", "a" * 128, "a" * 127 + "b", "a" * 100]


def test_names_that_differ_are_names_that_differ() -> None:
    inboxes = [names.inbox(TopicSpec(topic), group) for topic, group in itertools.product(NAMES, NAMES)]
    deads = [names.dead(TopicSpec(topic), group) for topic, group in itertools.product(NAMES, NAMES)]
    exchanges = [names.exchange(TopicSpec(topic)) for topic in NAMES]
    every = [*inboxes, *deads, *exchanges]
    assert len(set(every)) == len(every)
    assert max(map(len, every)) <= 127
    assert len({names.address(name) for name in every}) == len(every)


@pytest.mark.parametrize(
    ("key", "hashed"),
    [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)],
)
def test_keys_are_hashed_as_by_kafkas_clients(key: str, hashed: int) -> None:
    """The values are those of Kafka's own tests."""
    assert murmur2(key.encode()) == hashed % 2**32
    assert partition_of(key.encode(), 8) == (hashed & 0x7FFFFFFF) % 8


def climb(exchange: str, routing_key: str) -> tuple[str, int]:
    """Where a message comes out, and the milliseconds that it waited: the exchanges' bindings, followed by hand."""
    waited = 0
    while exchange != names.RETURN:
        level = int(exchange.rpartition("/")[2])
        waits, passes = (matches(pattern(level), routing_key) for pattern in (ladder.waits_key, ladder.steps_key))
        assert waits != passes, "it goes one way"
        waited += ladder.wait_of(level) if waits else 0
        exchange = ladder.below(level)
    return routing_key, waited


@given(st.floats(0.001, ladder.LONGEST), st.integers(0, 255))
def test_a_message_waits_as_long_as_it_must_and_one_unit_more_at_most(seconds: float, partition: int) -> None:
    exchange, routing_key = ladder.route(seconds, "orders:placed/billing", partition)
    at_the_foot, waited = climb(exchange, routing_key)
    assert seconds <= waited / 1000 + 1e-6
    assert waited / 1000 < seconds + ladder.UNIT + 1e-6
    assert matches("#.orders:placed/billing.*", at_the_foot)
    assert not matches("#.placed/billing.*", at_the_foot)
    assert matches(f"#.{partition}", at_the_foot)
    assert len(routing_key.encode()) <= 255


def test_a_longer_delay_than_the_longest_is_refused() -> None:
    with pytest.raises(ValueError, match="longest"):
        ladder.route(ladder.LONGEST + 1, "x", 0)


def test_the_longest_address_fits_into_a_routing_key() -> None:
    address = names.address(names.inbox(TopicSpec("t" * 128), "g" * 128))
    assert len(ladder.route(1.0, address, 255)[1].encode()) <= 255


@pytest.mark.parametrize("topic", ["amq.orders", "amq.topic", "waybill"])
def test_a_topic_whose_name_is_taken_is_refused_before_anything_connects(topic: str) -> None:
    app = App("group", settings=Settings(url="amqp://localhost:1"), topics=[Topic(topic, int, groups=["return"])])
    with pytest.raises(CapabilityError, match=f"{topic}: .*: choose another name"):
        app.explain()


def test_a_group_may_be_called_as_topics_may_not() -> None:
    """Its names begin with its topic's."""
    topics = [Topic("orders", int, groups=["amq.orders", "waybill"]), Topic("waybill.orders", int), Topic("amqp", int)]
    App("group", settings=Settings(url="amqp://localhost:1"), topics=topics).explain()
