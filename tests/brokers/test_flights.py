"""The flights on RabbitMQ, Kafka, SQS and SNS, unchanged, as JSON and as Avro: a worker is killed."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers.administration import Administration
from tests.brokers.plugin import running
from tests.brokers.running import Running

ROOT = Path(__file__).parents[2]
DEMO = "examples.flights.demo"
pytestmark = pytest.mark.timeout(300)
EMULATED = {"AWS_ACCESS_KEY_ID": "emulated", "AWS_SECRET_ACCESS_KEY": "emulated"}


def start(folder: Path, url: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYBILL_")}
    return subprocess.Popen(
        [sys.executable, "-m", DEMO, "--url", url, *arguments],
        cwd=ROOT,
        env={**environment, **EMULATED, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("codec", ["json", "avro"])
def test_the_demo_holds_every_check_when_a_worker_is_killed(rabbitmq: Running, codec: str, tmp_path: Path) -> None:
    with Administration(rabbitmq).vhost() as url:
        demo = start(tmp_path, url, "--limit", "2000", "--codec", codec)
        output, _ = demo.communicate(timeout=250)
    assert demo.returncode == 0, output


def test_the_demo_holds_every_check_on_kafka(kafka: Running, tmp_path: Path) -> None:
    demo = start(tmp_path, kafka.url, "--limit", "2000", "--codec", "avro")
    output, _ = demo.communicate(timeout=250)
    assert demo.returncode == 0, output


@pytest.mark.parametrize(
    ("name", "direct", "limit"),
    [
        pytest.param("sqs", True, 1000, marks=pytest.mark.broker("sqs")),
        pytest.param("sns", False, 500, marks=[pytest.mark.broker("sns"), pytest.mark.soak]),  # moto takes ten a second
    ],
)
def test_the_demo_holds_every_check_on_the_emulators_of_aws(
    name: str, direct: bool, limit: int, tmp_path: Path
) -> None:
    prefix = f"w{secrets.token_hex(5)}-"
    url = f"sqs://us-east-1?endpoint={running(name).url}&fifo=true&direct={direct}&wait=1&prefix={prefix}"
    demo = start(tmp_path, url, "--limit", str(limit), "--codec", "avro")
    output, _ = demo.communicate(timeout=250)
    assert demo.returncode == 0, output


@pytest.mark.disturbs
def test_the_demo_holds_every_check_when_the_broker_is_restarted_as_well(rabbitmq: Running, tmp_path: Path) -> None:
    boss = Administration(rabbitmq)
    with boss.vhost() as url:
        demo = start(tmp_path, url, "--restarts", "1")
        assert demo.stdout is not None
        before = list[str]()
        for line in demo.stdout:
            before.append(line)
            if "published 27,004" in line and any("was killed" in said for said in before):
                break
        rabbitmq.restart()
        try:
            output, _ = demo.communicate(timeout=250)
        finally:
            boss.settle()
    assert demo.returncode == 0, "".join(before) + output
