"""The shop publishes orders, and knows nobody who wants them.

python -m examples.fanout.shop
"""

from examples.fanout.contracts import OrderPlaced, orders
from waybill import App

app = App("shop")

PLACED = [
    OrderPlaced("o-1", "customer-1@example.org", "red kettle", 3900),
    OrderPlaced("o-2", "", "blue kettle", 4100),
    OrderPlaced("o-3", "customer-3@example.org", "red chair", 8500),
]

if __name__ == "__main__":
    with app.sync.running():
        for order in PLACED:
            app.sync.publish(orders, order)
    print(f"shop     {len(PLACED)} orders placed")
