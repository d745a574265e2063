"""What the promises came to is held against docs/conformance.json, unless another file is named."""

from __future__ import annotations

pytest_plugins = ["waybill_contracts.pytest_plugin"]
