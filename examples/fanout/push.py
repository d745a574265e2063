"""Notices on telephones: one of three channels that tell of every order."""

from examples.fanout.contracts import OrderCompleted, orders
from waybill import App

app = App("push")
shown: list[str] = []


@app.consume(orders)
async def tell(order: OrderCompleted) -> None:
    shown.append(order.order_id)
    print(f"push     {order.order_id}: '{order.article} is on its way'", flush=True)
