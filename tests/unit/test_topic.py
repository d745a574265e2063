"""A topic: one place that names an address, its type and its key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybill import ConfigurationError, Topic
from waybill.codec import BytesCodec
from waybill.topic import check_name
from waybill.topology import Destination, Subscription, TopicSpec


@dataclass
class Order:
    order_id: str


@given(st.text(max_size=140))
def test_a_name_is_taken_as_it_is_or_refused(name: str) -> None:
    fits = bool(re.fullmatch(r"[A-Za-z0-9._-]{1,128}", name)) and name[0].isalnum() and name[-1].isalnum()
    if fits and ".." not in name:
        assert check_name(name, "topic") == name
    else:
        with pytest.raises(ConfigurationError, match="topic name"):
            check_name(name, "topic")


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,126}[A-Za-z0-9])?", fullmatch=True))
def test_names_of_plain_letters_digits_and_hyphens_are_fine(name: str) -> None:
    assert Topic(name, bytes).name == name


@pytest.mark.parametrize("name", ["a\n", "orders.placed\n", "a ", "é", "a/b", ".a", "a.", "-", "_"])
def test_names_that_look_nearly_right_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        Topic(name, bytes)


def test_a_topic_cannot_be_changed() -> None:
    topic = Topic("orders", Order)
    with pytest.raises(AttributeError, match="another"):
        topic.name = "other"
    with pytest.raises(AttributeError):
        topic.new = 1  # type: ignore[attr-defined]


def test_a_key_makes_it_ordered() -> None:
    assert Topic("orders", Order).spec == TopicSpec("orders", ordered=False)
    assert Topic("orders", Order, key=lambda order: order.order_id).spec == TopicSpec("orders", ordered=True)


def test_groups_are_a_list_of_names() -> None:
    topic = Topic("orders", Order, groups=["billing", "shipping"])
    assert [s.name for s in topic.subscriptions()] == ["orders/billing", "orders/shipping"]
    with pytest.raises(ConfigurationError, match="not one text"):
        Topic("orders", Order, groups="billing")
    with pytest.raises(ConfigurationError, match="group name"):
        Topic("orders", Order, groups=["a b"])


@pytest.mark.parametrize("key", ["order_id", 7])
def test_a_key_that_is_no_function_is_refused(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="function"):
        Topic("orders", Order, key=key)


def test_a_codec_of_ones_own_is_used() -> None:
    codec: Any = BytesCodec()
    assert Topic("orders", Order, codec=codec).codec is codec


def test_its_text_names_it() -> None:
    assert repr(Topic("orders", Order)) == "Topic('orders', Order)"


def test_a_destination_has_a_group_where_it_is_a_groups_own() -> None:
    spec = TopicSpec("orders")
    assert Destination("dead", spec, "g").name == "orders/g"
    assert Destination("topic", spec).name == "orders"
    with pytest.raises(ValueError, match="group"):
        Destination("dead", spec)
    with pytest.raises(ValueError, match="group"):
        Destination("topic", spec, "g")
    assert Subscription(topic=spec, group="g").name == "orders/g"
