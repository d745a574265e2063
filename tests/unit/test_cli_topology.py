"""`waybill topology` on a file whose topics and groups promise something else than the code."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.ops.test_folder import HEALTHY
from waybill.ops.folder import Folder
from waybill.ops.state import Circuit

SERVICE = """
from datetime import timedelta
from waybill import App, Topic, TopicPattern

orders = Topic("orders.placed", str, retention=timedelta(days={days}))
app = App("billing")

@app.consume(orders, where={{"region": "{region}"}})
async def handle(order: str) -> None:
    raise ValueError(order)

@app.consume(TopicPattern("orders.#", str), group="audit")
async def audit(order: str) -> None: ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, days=2, region="eu")
    return tmp_path


def write(folder: Path, *, days: int, region: str) -> None:
    (folder / "service.py").write_text(SERVICE.format(days=days, region=region))


def waybill(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from waybill.cli import main; sys.exit(main())"
    command = [sys.executable, "-B", "-c", program, *words, "--app", "service:app", "--url", "sqlite:///bus.db"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)


def test_what_is_missing_is_created_what_costs_nothing_altered_and_the_rest_left_unless_named(folder: Path) -> None:
    assert waybill(folder, "topology", "verify").returncode == 2
    assert waybill(folder, "topology", "apply").returncode == 0
    assert waybill(folder, "topology", "verify").returncode == 0

    write(folder, days=7, region="uk")
    planned = waybill(folder, "topology", "plan")
    assert "would alter topic orders.placed retention: 2 d there, 7 d in the code" in planned.stdout
    assert "differs, left as it is: group orders.placed/billing where:" in planned.stdout
    applied = waybill(folder, "topology", "apply")
    assert applied.returncode == 2
    assert "altered topic orders.placed" in applied.stdout
    assert waybill(folder, "topology", "apply", "--allow", "group nonsense").returncode == 2

    named = waybill(folder, "topology", "apply", "--allow", "group orders.placed/billing")
    assert (named.returncode, named.stdout.splitlines()[0][:34]) == (0, "altered group orders.placed/billin")
    assert waybill(folder, "topology", "verify").returncode == 0


def test_the_groups_of_a_pattern_are_shown_topic_by_topic(folder: Path) -> None:
    assert waybill(folder, "topology", "apply").returncode == 0
    shown = json.loads(waybill(folder, "backlog", "--json").stdout)
    assert [(item["topic"], item["group"]) for item in shown] == [
        ("orders.placed", "billing"),
        ("orders.placed", "audit"),
    ]


def test_each_group_of_a_pattern_waits_for_the_circuits_of_its_handler(folder: Path) -> None:
    (folder / "waybill.toml").write_text('status_dir = "status"')
    now = time.time()
    bank = Circuit(name="bank", state="open", groups=["orders.#/audit"])
    Folder(folder / "status").write(msgspec.structs.replace(HEALTHY, written=now, began=now, circuits=[bank]))
    assert waybill(folder, "topology", "apply").returncode == 0
    shown = json.loads(waybill(folder, "backlog", "--json").stdout)
    assert [item["circuits"] for item in shown] == [{}, {"bank": "open"}]
