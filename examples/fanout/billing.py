"""Billing: one of three services that get every order."""

from examples.fanout.contracts import OrderPlaced, orders
from waybill import App

app = App("billing")


@app.consume(orders)
async def charge(order: OrderPlaced) -> None:
    print(f"billing  {order.order_id}: {order.cents / 100:.2f} charged", flush=True)
