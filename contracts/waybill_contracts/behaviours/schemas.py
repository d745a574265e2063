"""Z. Schemas: bodies in Avro with the id of their schema, which a registry knows, or not, or not now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from waybill import Delivery, Retry, Status, Topic
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_schema_registry.client.registry import Registry
from waybill_schema_registry.codec import Avro
from waybill_schema_registry.entities import Schema
from waybill_schema_registry.errors import RegistryUnavailable


@dataclass
class Order:
    number: int
    note: str


class Later:
    """The same, as a later program writes it."""

    @dataclass
    class Order:
        note: str
        number: int
        gift: bool = False


class Interrupted(Registry):
    """A registry in this process that does not answer while it is `down`."""

    down = False
    asked = 0

    async def get_schema(self, schema_id: int, subject: str | None = None) -> Schema:
        self.asked += 1
        if self.down:
            raise RegistryUnavailable("the registry is down")
        return await super().get_schema(schema_id, subject)


class Raw:
    """Bodies as another program writes them."""

    content_type = "application/avro"

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, body: bytes) -> bytes:
        return body


def orders(bench: Bench, registry: Registry, payload: type[Any] = Order) -> Topic[Any]:
    """The topic, as one program knows it: what others were told, it asks for itself."""
    codec = Avro(registry, namespace="contracts")
    return Topic(bench.name("orders"), payload, codec=codec, key=lambda order: str(order.number))


@behaviour("Z01", seconds=2)
async def bodies_in_avro_are_read_by_old_and_new_programs(bench: Bench) -> None:
    registry = Registry("memory://")
    app, given = bench.receiver(orders(bench, registry))
    sent = [Order(number, f"é\0{number}" * number) for number in range(20)]
    async with app.running():
        await bench.publish(orders(bench, registry), *sent)
        await bench.publish(orders(bench, registry, Later.Order), Later.Order(number=20, note="new", gift=True))
        await bench.until(lambda: len({delivery.value.number for delivery in given}) == 21, "all of them are read")
    found = {delivery.value.number: delivery.value for delivery in given}
    assert found == {order.number: order for order in [*sent, Order(20, "new")]}, f"they have changed: {found!r:.500}"
    assert given[0].message.body, "the body is not there"
    assert given[0].message.content_type == "application/avro"


@behaviour("Z02", seconds=2)
async def a_body_of_an_unknown_schema_is_dead_lettered_as_it_came(bench: Bench) -> None:
    registry = Registry("memory://")
    topic = orders(bench, registry)
    app, given = bench.receiver(topic)
    foreign = Topic(topic.name, bytes, codec=Raw(), key=lambda _: "1")
    body = b"\0\x7f\xff\xff\xfe" + bytes(range(256))
    async with app.running():
        await bench.publish(foreign, body)
        await bench.publish(topic, Order(1, "next"))
        (letter,) = await bench.eventually(lambda: bench.dead(topic), len, "it is dead-lettered")
        await bench.until(lambda: given, "the next one is handled")
        await bench.settled(topic)
    assert [delivery.value for delivery in given] == [Order(1, "next")]
    assert letter.body == body, f"its bytes have changed: {letter.body!r:.100}"
    assert letter.dead is not None
    assert letter.dead.reason == "decode_error"
    assert "2147483646" in letter.dead.detail, f"the reason does not name the schema: {letter.dead.detail}"


@behaviour("Z03", seconds=4)
async def a_registry_that_is_down_costs_no_attempt(bench: Bench) -> None:
    registry = Interrupted("memory://")
    written, read = orders(bench, registry), orders(bench, registry)
    app, given = bench.receiver(read, retry=Retry.fixed(2, delay=0.05))
    await bench.declare(app)
    await bench.publish(written, *(Order(number, "x") for number in range(5)))
    registry.down = True
    async with app.running():
        await bench.until(lambda: app.health().status is Status.DEGRADED, "its health says so")
        asked = registry.asked
        await bench.until(lambda: registry.asked > asked + 2, "the registry is asked again")
        assert not given, "a handler was started although nothing can be decoded"
        assert not await bench.dead(read), "what is sound was dead-lettered"
        registry.down = False
        await bench.until(lambda: len({delivery.value.number for delivery in given}) == 5, "all of them are handled")
        await bench.until(lambda: app.health().status is Status.UP, "its health says that it is over")
        await bench.settled(read)
    attempts: list[Delivery[Any]] = [delivery for delivery in given if delivery.attempt != 1]
    assert not attempts, f"attempts were spent: {[delivery.attempt for delivery in attempts]}"
    assert not await bench.dead(read)
