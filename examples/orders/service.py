"""The service: charges each order. Return means done, an exception means again later, `Reject` means never."""

from examples.orders import banks
from examples.orders.contracts import OrderPlaced, orders
from waybill import App, Reject, Retry

app = App("billing")


@app.consume(orders, concurrency=4, window=8, retry=Retry.exponential(5, first=0.2, cap=2.0))
async def charge(order: OrderPlaced) -> None:
    """Four at once, eight in hand: the next four wait here and not at the broker."""
    if order.cents <= 0:
        raise Reject("nothing to charge")
    await banks.charge(order.bank, order.order_id, order.cents)
