"""A stand-in for the banks: one is well, one answers the third time only, one is closed."""

import asyncio
from collections import Counter

__all__ = ["BankUnavailable", "charge", "charged", "closed"]

closed = {"east"}
charged: dict[str, int] = {}
"""Cents by order. A message may come twice: the order's id, sent along, lets a bank charge it once."""

_asked = Counter[str]()


class BankUnavailable(Exception):
    """The bank did not answer. Trying again may help."""


async def charge(bank: str, order_id: str, cents: int) -> None:
    """Raises `BankUnavailable`."""
    await asyncio.sleep(0.05)
    _asked[order_id] += 1
    if bank in closed or (bank == "south" and _asked[order_id] < 3):
        raise BankUnavailable(f"bank {bank} does not answer")
    charged[order_id] = cents
