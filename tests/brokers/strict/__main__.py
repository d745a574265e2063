"""`python -m tests.brokers.strict URL`: the proxy in front of the emulator there; prints its port."""

from __future__ import annotations

import asyncio
import sys

from tests.brokers.strict.server import serve

asyncio.run(serve(sys.argv[1]))
