"""An adapter that is known and not there: the error names what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from waybill.clock import SystemClock
from waybill.errors import AdapterNotFound
from waybill.loading import AdapterContext, open_adapter

CONTEXT = AdapterContext(application="a", clock=SystemClock(), options={})


def declare(folder: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """A distribution whose adapter for `scheme` imports a client library that is not installed."""
    info = folder / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[waybill.adapters]\n{scheme} = needing_{scheme}:adapter\n")
    (folder / f"needing_{scheme}.py").write_text("import a_client_library\n")
    monkeypatch.syspath_prepend(str(folder))


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
from waybill.clock import SystemClock
from waybill.loading import AdapterContext, open_adapter
open_adapter(sys.argv[2], AdapterContext(application="a", clock=SystemClock(), options={}))
"""


@pytest.mark.parametrize(
    ("library", "url", "extra"),
    [
        ("aiormq", "amqp://host", "rabbitmq"),
        ("aiokafka", "kafka://host", "kafka"),
        ("aioboto3", "sqs://eu-west-1", "sqs"),
    ],
)
def test_an_adapter_without_its_client_library_names_the_extra(library: str, url: str, extra: str) -> None:
    command = [sys.executable, "-c", WITHOUT, library, url]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("waybill.errors.AdapterNotFound: ")
    assert library in last
    assert last.endswith(f"Install it with: pip install 'waybill[{extra}]'")


def test_the_adapter_of_somebody_else_names_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(tmp_path, monkeypatch, "pigeon")
    with pytest.raises(AdapterNotFound, match="No module named 'a_client_library'") as caught:
        open_adapter("pigeon://roof", CONTEXT)
    assert "waybill[" not in str(caught.value)


def test_an_adapter_that_is_not_there_at_all(tmp_path: Path) -> None:
    with pytest.raises(AdapterNotFound, match=r"no adapter for smoke:// is installed.*Installed are:.* sqlite://"):
        open_adapter("smoke://signals", CONTEXT)
    with pytest.raises(AdapterNotFound, match=r"Did you mean sqlite://\?"):
        open_adapter("sqlight:///bus.db", CONTEXT)
    with pytest.raises(AdapterNotFound, match=r"for a file write sqlite:///bus\.db"):
        open_adapter("bus.db", CONTEXT)
