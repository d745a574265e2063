"""The adapter of examples/adapter, as somebody who is not of this project writes one: every promise and every fault."""

from __future__ import annotations

import pytest

from tests.contract.postgres import Ours
from waybill_contracts import contract, survives

POSTGRES = Ours()
ALONE = pytest.mark.disturbs

test_on_postgres = pytest.mark.broker("postgres")(contract(POSTGRES, disturbing=ALONE))
test_faults_on_postgres = pytest.mark.broker("postgres")(survives(POSTGRES, disturbing=ALONE))
