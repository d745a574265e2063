"""A web application: POST publishes, a consumer keeps the read model, GET reads it.

uvicorn examples.web.service:api
"""

import logging
import os
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from examples.web.contracts import OrderPlaced, orders
from examples.web.totals import Total, Totals
from waybill import App, PublishError

log = logging.getLogger(__name__)
app = App("totals")
api = FastAPI(title="Orders", lifespan=app.lifespan)  # connects, consumes, and at the end shuts down in order
totals = Totals(Path(os.environ.get("TOTALS_FILE", "totals.db")))


@app.consume(orders)
def count(order: OrderPlaced) -> None:
    """Plain, as SQLite is: it runs in a thread."""
    totals.add(order)


@api.post("/orders", status_code=202)
async def place(order: OrderPlaced) -> dict[str, str]:
    """202, once the order is in the broker's store. It will be counted; it need not be yet."""
    confirmed = await app.publish(orders, order, deadline=2.0)  # a client does not wait for half a minute
    return {"message_id": confirmed.id}


@api.get("/customers/{customer_id}")
def total(customer_id: str) -> Total:
    return totals.of(customer_id)


@api.exception_handler(PublishError)
async def not_taken(_request: Request, error: PublishError) -> JSONResponse:
    """Certainly not stored or perhaps stored: the client may send the same order again, `totals` counts it once."""
    log.warning("%s", error)
    return JSONResponse({"detail": "the order may not have been stored: send it again"}, 503, {"Retry-After": "1"})
