"""The shop publishes what is completed, and knows nobody who wants to hear of it.

python -m examples.fanout.shop
"""

from examples.fanout.contracts import OrderCompleted, orders
from waybill import App

app = App("shop")

COMPLETED = [
    OrderCompleted("o-1", "customer-1@example.org", "+15550001", "red kettle"),
    OrderCompleted("o-2", "", "+15550002", "blue kettle"),
    OrderCompleted("o-3", "customer-3@example.org", "+15550003", "red chair"),
]

if __name__ == "__main__":
    with app.sync.running():
        for order in COMPLETED:
            app.sync.publish(orders, order)
    print(f"shop     {len(COMPLETED)} orders completed")
