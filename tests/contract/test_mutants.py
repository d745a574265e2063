"""Each mutant is noticed by each of the promises that must."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.harnesses import Mutated
from waybill_contracts import prove
from waybill_contracts.ledger import Result
from waybill_contracts.mutants import serve_mutants
from waybill_contracts.mutants.running import load_mutants
from waybill_contracts.proving import load_behaviours

serve_mutants()
CASES = [(mutant.name, ident) for mutant in load_mutants().values() for ident in mutant.killed_by]


@pytest.mark.parametrize(("name", "ident"), CASES, ids=[f"{name}-{ident}" for name, ident in CASES])
async def test_a_mutant_is_noticed(name: str, ident: str, tmp_path: Path) -> None:
    promise = load_behaviours()[ident]
    try:
        row = await prove(Mutated(name), promise, tmp_path)
    except Exception:  # noqa: BLE001 - whatever notices it
        return
    assert row.result is Result.REFUSED, f"{name} survived {ident} {promise.name}"
    pytest.fail(f"{name} survived {ident}: it was refused")


def test_each_promise_has_a_mutant() -> None:
    noticed = {ident for mutant in load_mutants().values() for ident in mutant.killed_by}
    assert set(load_behaviours()) - noticed == set()
