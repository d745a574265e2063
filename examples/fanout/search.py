"""The search index: which orders a word leads to. In memory, since it is an example."""

from collections import defaultdict

from examples.fanout.contracts import OrderPlaced, orders
from waybill import App

app = App("search")
index: defaultdict[str, set[str]] = defaultdict(set)


@app.consume(orders)
async def add(order: OrderPlaced) -> None:
    for word in order.article.split():
        index[word].add(order.order_id)
    print(f"search   {order.order_id}: found by {order.article!r}", flush=True)
