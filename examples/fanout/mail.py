"""E-mail. What fails here fails for this group alone: the others tell of the same order."""

from examples.fanout.contracts import OrderCompleted, orders
from waybill import App, Reject

app = App("email")


@app.consume(orders)
async def tell(order: OrderCompleted) -> None:
    if not order.email:
        raise Reject("no address")
    print(f"email    {order.order_id}: told {order.email}", flush=True)
