"""`make test-aws`, against an emulator in AWS's place: it shows promises, leaves nothing behind, and says why where it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import aioboto3
import pytest

from tests.aws.account import OURS, why_not
from tests.brokers.running import Running

ROOT = Path(__file__).parents[2]
RUN = [
    *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis"),
    *("-o", "addopts=-ra -p waybill_contracts.pytest_plugin", "tests/aws"),
]
NOBODY = {
    "AWS_CONFIG_FILE": "none",
    "AWS_SHARED_CREDENTIALS_FILE": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
    "CI": "",
}
KNOWN = {"AWS_ACCESS_KEY_ID": "emulated", "AWS_SECRET_ACCESS_KEY": "emulated"}


def ran(*arguments: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST_"))}
    done = subprocess.run(
        [*RUN, *arguments],
        cwd=ROOT,
        env={**clean, **NOBODY, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_promises_are_shown_and_nothing_is_left_behind(sns: Running) -> None:
    said = ran("-k", "A01 and not fifo", TEST_AWS="us-east-1", AWS_ENDPOINT_URL=sns.url, **KNOWN)
    assert "2 passed" in said
    session = aioboto3.Session(region_name="us-east-1")
    async with (
        session.client("sqs", endpoint_url=sns.url) as sqs,
        session.client("sns", endpoint_url=sns.url) as topics,
    ):
        assert not (await sqs.list_queues(QueueNamePrefix=OURS)).get("QueueUrls")
        found = (await topics.list_topics())["Topics"]
    assert not [each for each in found if OURS in each["TopicArn"]]


def test_where_it_cannot_be_run_it_says_why_and_shows_nothing() -> None:
    said = ran("-k", "A01", TEST_AWS="us-east-1")
    assert "4 skipped" in said
    assert "there are no AWS credentials" in said


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"TEST_AWS": "us-east-1"}, None),
        ({"TEST_AWS": ""}, "name a region"),
        ({"TEST_AWS": "us-east-1", "CI": "true"}, "never asked in CI"),
    ],
)
def test_it_asks_for_a_region_and_never_runs_in_ci(
    environment: dict[str, str], why: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**NOBODY, **KNOWN, **environment}.items():
        monkeypatch.setenv(name, value)
    said = why_not()
    assert said is None if why is None else why in str(said)
