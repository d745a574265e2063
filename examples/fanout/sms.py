"""Text messages, by a gateway that may be down (SMS_GATEWAY=down): then they wait, and nobody else does."""

import os

from examples.fanout.contracts import OrderCompleted, orders
from waybill import App, Retry

app = App("sms")


async def send(number: str, text: str) -> str:
    if os.environ.get("SMS_GATEWAY") == "down":
        raise ConnectionError("the gateway is down")
    return f"told {number} that '{text}'"


@app.consume(orders, retry=Retry.fixed(1000, delay=1.0))
async def tell(order: OrderCompleted) -> None:
    try:
        receipt = await send(order.phone, f"{order.article} is on its way")
    except ConnectionError as error:
        print(f"sms      {order.order_id}: {error}, tried again in a second", flush=True)
        raise
    print(f"sms      {order.order_id}: {receipt}", flush=True)
