"""Who is not let in is told why, and what to check."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.brokers.administration import Administration, vhost_of
from waybill import App, BrokerUnavailable, Settings, Topic
from waybill.findings import Diagnoses

ORDERS = Topic("orders", int, groups=["group"])

REFUSED: dict[str, tuple[Callable[[str], str], str]] = {
    "no such virtual host": (lambda url: f"{url}-gone", r"vhost \S+-gone not found"),
    "another's virtual host": (lambda url: url.replace(vhost_of(url), "%2F"), "access to vhost '/' refused for user"),
    "a wrong password": (lambda url: url.replace("@", "x@"), "Login was refused"),
}


@pytest.mark.parametrize(("wrong", "said"), REFUSED.values(), ids=REFUSED)
async def test_who_is_not_let_in_is_told_why_and_what_to_check(
    boss: Administration, url: str, wrong: Callable[[str], str], said: str
) -> None:
    with boss.user(url, configure=".*", write=".*", read=".*") as own:
        there = wrong(own)
        app = App("group", settings=Settings(url=there), topics=[ORDERS])
        with pytest.raises(BrokerUnavailable, match=said) as refused:
            async with app.running(consume=False):
                pass
        (adapter,) = app.brokers().all.values()
        assert isinstance(adapter, Diagnoses)
        troubles = [finding.trouble for finding in await adapter.diagnose() if finding.trouble]
    user, password = urlsplit(there).username, urlsplit(there).password or ""
    advice = f"check user {user!r}, its password, and its rights on the virtual host "
    assert advice in str(refused.value)
    assert password not in str(refused.value)
    assert [trouble for trouble in troubles if advice in trouble]
