"""What there is to know about AWS and the way to it, and what is wrong with that: for `waybill doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from waybill.errors import BrokerError, ConfigurationError
from waybill.findings import Finding
from waybill.foreign import CredentialsRefused
from waybill_sqs.client import Aws
from waybill_sqs.options import BrokerTable

__all__ = ["diagnose"]

SHORT = 20
"""Seconds that the longest long poll waits."""


async def diagnose(aws: Aws) -> Sequence[Finding]:
    """See `waybill.findings.Diagnoses`. `aws`: not opened."""
    found = [Finding("aioboto3", version("aioboto3")), _endpoint(aws), _idle(aws.table)]
    try:
        await aws.open()
        found.append(Finding("sqs", f"in {aws.region}"))
    except CredentialsRefused as error:
        fix = "see `aws sts get-caller-identity`, and `profile` and `role` of [broker.sqs]"
        found.append(Finding("sqs", "", str(error), fix))
    except (BrokerError, ConfigurationError) as error:
        found.append(Finding("sqs", "", str(error), "is the region right, and may this machine reach it?"))
    finally:
        await aws.close()
    return found


def _endpoint(aws: Aws) -> Finding:
    endpoint = aws.table.endpoint
    if endpoint is None:
        return Finding("endpoint", "AWS's, encrypted")
    trouble = "messages, and who may use it, are in the hands of whoever runs that server"
    return Finding(
        "endpoint", endpoint, trouble, "remove `endpoint`, unless this is meant: an emulator, or a private endpoint"
    )


def _idle(table: BrokerTable) -> Finding:
    calls = 86_400 // table.wait
    dear = f"an idle group costs {calls} calls a day" if table.wait < SHORT else None
    return Finding("long polls", f"of {table.wait} s", dear, "set wait = 20" if dear else None)
