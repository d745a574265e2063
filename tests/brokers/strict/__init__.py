"""AWS's refusals and faults in front of the emulators: ElasticMQ and moto accept much that SQS and SNS refuse.

`start("http://127.0.0.1:9324")` runs the proxy as a process and returns a `Strict`: its URL is an `endpoint_url` like the
emulator's, its verbs inject faults and tell which calls came. What it refuses is in messages.py, batches.py, queues.py,
receipts.py and topics.py, each rule with the page of AWS's documentation that has it; README.md lists them.
"""

from tests.brokers.strict.calling import MANY, Calls, Strict, start
from tests.brokers.strict.faults import MESSAGING, Faults

__all__ = ["MANY", "MESSAGING", "Calls", "Faults", "Strict", "start"]
