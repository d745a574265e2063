"""The flights on RabbitMQ, unchanged: a worker is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers.administration import Administration
from tests.brokers.running import Running

ROOT = Path(__file__).parents[2]
DEMO = "examples.flights.demo"


def start(folder: Path, url: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYBILL_")}
    return subprocess.Popen(
        [sys.executable, "-m", DEMO, "--url", url, *arguments],
        cwd=ROOT,
        env={**environment, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_demo_holds_every_check_when_a_worker_is_killed(rabbitmq: Running, tmp_path: Path) -> None:
    with Administration(rabbitmq).vhost() as url:
        demo = start(tmp_path, url, "--limit", "4000")
        output, _ = demo.communicate(timeout=100)
    assert demo.returncode == 0, output


@pytest.mark.disturbs
def test_the_demo_holds_every_check_when_the_broker_is_restarted_as_well(rabbitmq: Running, tmp_path: Path) -> None:
    with Administration(rabbitmq).vhost() as url:
        demo = start(tmp_path, url, "--restarts", "1")
        assert demo.stdout is not None
        before = list[str]()
        for line in demo.stdout:
            before.append(line)
            if "published 27,004" in line and any("was killed" in said for said in before):
                break
        rabbitmq.restart()
        output, _ = demo.communicate(timeout=150)
    assert demo.returncode == 0, "".join(before) + output
