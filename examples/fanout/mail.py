"""E-mail. What fails here fails for this group alone: the others have charged and indexed the same order."""

from examples.fanout.contracts import OrderPlaced, orders
from waybill import App, Reject

app = App("mail")


@app.consume(orders)
async def confirm(order: OrderPlaced) -> None:
    if not order.email:
        raise Reject("no address")
    print(f"mail     {order.order_id}: confirmation sent to {order.email}", flush=True)
