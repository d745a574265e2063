"""Testing a service: its own handlers on the embedded broker, in memory, with a clock the test owns.

    async with app.test() as bus:
        bus.faults.duplicate(orders)
        await bus.publish(orders, OrderPlaced("o1", "c1"))
        await bus.drain()
        assert bus.published(invoices) == [Invoice("o1")]
        assert bus.dead_letters(orders) == []

Nothing here stands in for anything: the consumer, the producer and the SQLite code are those of production. Only the
clock is the test's: `drain` moves it to the next retry or delayed message, so retries an hour apart run at once.

    bus.py      what a test holds: publish, drain, look
    faults.py   what may go wrong between the broker and the service, armed by the test
    broker.py   an adapter around an adapter that makes it go wrong; source.py its part towards the service
    story.py    what happened, told message by message
"""

from waybill.testing.bus import BusError, DeadLettered, TestBus, open_test_bus
from waybill.testing.faults import Fault, Faults

__all__ = ["BusError", "DeadLettered", "Fault", "Faults", "TestBus", "open_test_bus"]
