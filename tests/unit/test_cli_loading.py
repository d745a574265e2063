"""An adapter that is known and not there: the error names what to install."""

from __future__ import annotations

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


@pytest.mark.parametrize(("scheme", "extra"), [("sqs", "sqs")])
def test_an_adapter_without_its_client_library_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, extra: str
) -> None:
    declare(tmp_path, monkeypatch, scheme)
    with pytest.raises(AdapterNotFound, match="No module named 'a_client_library'") as caught:
        open_adapter(f"{scheme}://host", CONTEXT)
    assert f"pip install 'waybill[{extra}]'" in str(caught.value)


def test_the_adapter_of_somebody_else_names_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(tmp_path, monkeypatch, "pigeon")
    with pytest.raises(AdapterNotFound, match="No module named 'a_client_library'") as caught:
        open_adapter("pigeon://roof", CONTEXT)
    assert "waybill[" not in str(caught.value)


def test_an_adapter_that_is_not_there_at_all(tmp_path: Path) -> None:
    with pytest.raises(AdapterNotFound, match=r"pip install -U 'waybill\[sqs\]'.*Installed are:.* sqlite://"):
        open_adapter("sqs://eu-west-1", CONTEXT)
    with pytest.raises(AdapterNotFound, match=r"Did you mean sqlite://\?"):
        open_adapter("sqlight:///bus.db", CONTEXT)
    with pytest.raises(AdapterNotFound, match=r"for a file write sqlite:///bus\.db"):
        open_adapter("bus.db", CONTEXT)
