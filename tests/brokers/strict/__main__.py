"""`python -m tests.brokers.strict URL CALLS`: the proxy in front of the emulator there, with so many calls at once; prints its port."""

from __future__ import annotations

import asyncio
import sys

from tests.brokers.strict.server import serve

asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
