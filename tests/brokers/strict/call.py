"""A call of SQS or SNS, whatever protocol it came by."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from tests.brokers.strict.places import Service
from tests.brokers.strict.refusing import Parameters

ENTRIES = {"sqs": "Entries", "sns": "PublishBatchRequestEntries"}
PLACED_BY = ("QueueUrl", "QueueName", "TopicArn", "TargetArn", "Name")


@dataclass(frozen=True)
class Call:
    service: Service
    action: str
    parameters: Parameters
    raw: bytes | None = field(default=None, repr=False, compare=False)
    """As it came, while nothing of it is left out."""

    @property
    def target(self) -> str:
        """The name of the queue or topic; empty where the call names none."""
        named = next((str(self.parameters[name]) for name in PLACED_BY if name in self.parameters), "")
        return named.rpartition("/" if self.service == "sqs" else ":")[2]

    @property
    def batch(self) -> bool:
        return self.action.endswith("Batch")

    @property
    def entries(self) -> Sequence[Parameters]:
        """Of a batch; else the call itself, as an entry without an id."""
        return self.parameters.get(ENTRIES[self.service]) or [] if self.batch else [self.parameters]

    def without(self, ids: Collection[str]) -> Call:
        """The batch without these entries."""
        if not ids or not self.batch:
            return self
        left = [entry for entry in self.entries if entry["Id"] not in ids]
        return replace(self, parameters={**self.parameters, ENTRIES[self.service]: left}, raw=None)
