"""What a role may do is enough for its work and no more than that takes; the page and `doctor` say the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.brokers.administration import Administration
from tests.rabbitmq.looking import dead, eventually, until
from waybill import App, BrokerError, PublishRefused, PublishUnknown, Retry, Settings, Topic, WaybillError
from waybill.doctor import examine
from waybill.findings import Finding
from waybill.redrive import redrive
from waybill.topology import Subscription
from waybill_rabbitmq.rights import Rights, consuming, making, operating, publishing

PAGE = Path(__file__).parents[2] / "docs" / "rabbitmq.md"

ORDERS = Topic("orders.placed", int, key=str, groups=["group"])
GROUP = Subscription(topic=ORDERS.spec, group="group")
GROUPS = {
    "shared": GROUP,
    "ordered": msgspec.structs.replace(GROUP, ordered=True),
    "ephemeral": msgspec.structs.replace(GROUP, ephemeral=True),
}


def roles(subscription: Subscription) -> dict[str, Rights]:
    return {
        "publisher": publishing(subscription.topic),
        "consumer": consuming(subscription),
        "operator": operating(subscription),
        "maker": making([subscription.topic]),
    }


@contextmanager
def granted(boss: Administration, url: str, granted: dict[str, Rights]) -> Generator[dict[str, str]]:
    """The URL of each role."""
    with ExitStack() as users:
        yield {
            role: users.enter_context(boss.user(url, configure=configure, write=write, read=read))
            for role, (configure, write, read) in ((role, rights.patterns) for role, rights in granted.items())
        }


def app(url: str, *, mode: str = "verify") -> App:
    return App("group", settings=Settings(url=url, topology=mode), topics=[ORDERS])  # type: ignore[arg-type]


class Service:
    """Handles the orders of a group: 2 fails for good until it is mended, 3 once."""

    def __init__(self, url: str, group: Subscription, *, mode: str = "verify") -> None:
        self.app = app(url, mode=mode)
        self.handled: list[int] = []
        self.mended = False
        retry = Retry.fixed(2, delay=2.0)
        self.app.consume(ORDERS, ordered=group.ordered, ephemeral=group.ephemeral, retry=retry)(self._handle)

    async def _handle(self, number: int) -> None:
        self.handled.append(number)
        if (number == 2 and not self.mended) or (number == 3 and self.handled.count(3) == 1):
            raise ValueError("an odd one")

    async def until(self, look: Callable[[], bool]) -> None:
        """Wait, or raise what the broker has refused meanwhile."""

        def seen() -> bool:
            for reason in (reason for part in self.app.health().parts for reason in part.reasons):
                if "ACCESS_REFUSED" in reason:
                    raise BrokerError(reason)
            return look()

        await until(seen)


async def work(urls: dict[str, str], group: Subscription) -> None:
    """All that each role is for. Raises where one of them may not."""
    async with app(urls["maker"], mode="create").running(consume=False):
        pass
    earlier: list[int] = []
    async with app(urls["publisher"]).running(consume=False) as publisher:
        if group.ordered:  # by now there is the contract alone, so this one is handled in turn
            await publisher.publish(ORDERS, 0)
            earlier = [0]
        async with Service(urls["maker"], group, mode="create").app.running(consume=False):
            pass
        service = Service(urls["consumer"], group)
        async with service.app.running():
            for number in (2, 3, 1):  # by the last, the way is open
                await publisher.publish(ORDERS, number, delay=2.0 if number == 1 else None)
            await service.until(lambda: sorted(service.handled) == [*earlier, 1, 2, 2, 3, 3])
            if not group.ephemeral:
                await operate(app(urls["operator"]), service)


async def operate(desk: App, service: Service) -> None:
    await service.until(lambda: not any(part.held for part in service.app.health().parts))
    (letter,) = await eventually(lambda: dead(desk, ORDERS))
    async with desk.admin() as admin:
        backlog = await admin.backlog(GROUP)
    assert (backlog.ready.value, backlog.dead.value) == (0, 1)
    service.mended = True
    async with desk.connected() as brokers:
        result = await redrive(brokers.of(ORDERS.spec), GROUP, lambda found: found.id == letter.id)
    assert result.sent == 1, result.cause
    await service.until(lambda: service.handled.count(2) == 3)


@pytest.mark.parametrize("kind", GROUPS)
async def test_each_role_does_its_own_work(boss: Administration, url: str, kind: str) -> None:
    with granted(boss, url, roles(GROUPS[kind])) as urls:
        await work(urls, GROUPS[kind])


NEEDED_AT_TIMES = {
    ("shared", "consumer", "write", r"orders\.placed/group"),  # where a retry could not be written before it was due
    ("ordered", "consumer", "write", r"orders\.placed/group"),
    ("ordered", "consumer", "write", r"waybill/delay/\d\d"),  # what has no key waits there
}
"""Rights that this work does not come to need."""

ALL = [
    (kind, role, what, expression)
    for kind, group in GROUPS.items()
    for role, rights in roles(group).items()
    for what in ("configure", "write", "read")
    for expression in sorted(getattr(rights, what))
    if (role == "consumer" or kind == "shared") and (kind, role, what, expression) not in NEEDED_AT_TIMES
]


@pytest.mark.parametrize(
    "each_rabbitmq", [pytest.param("rabbitmq43", marks=pytest.mark.broker("rabbitmq43"))], indirect=True
)
@pytest.mark.parametrize("taken", ALL, ids=" ".join)
async def test_no_right_of_a_role_can_be_taken_away(
    boss: Administration, url: str, taken: tuple[str, str, str, str]
) -> None:
    kind, role, what, expression = taken
    full = roles(GROUPS[kind])
    less = msgspec.structs.replace(full[role], **{what: getattr(full[role], what) - {expression}})
    with granted(boss, url, full | {role: less}) as urls, pytest.raises((WaybillError, AssertionError)):
        await work(urls, GROUPS[kind])


def test_the_page_names_the_same_rights() -> None:
    group = Subscription(topic=Topic("orders", int).spec, group="billing")
    named = {
        "publisher": publishing(group.topic),
        "consumer": consuming(group),
        "consumer, `ordered=True`": consuming(msgspec.structs.replace(group, ordered=True)),
        "consumer, `ephemeral=True`": consuming(msgspec.structs.replace(group, ephemeral=True)),
        "`waybill dlq`, `waybill backlog`": operating(group),
        "`waybill topology apply`": making([group.topic]),
    }
    lines = ["| role | configure | write | read |", "| --- | --- | --- | --- |"]
    for role, rights in named.items():
        cells = [f"`{pattern}`".replace("|", "\\|") for pattern in rights.patterns]
        lines.append(f"| {' | '.join([role, *cells])} |")
    (there,) = re.findall(r"\| role \|.*?\n\n", PAGE.read_text(), re.DOTALL)
    assert there.splitlines() == [*lines, ""]


async def test_no_role_does_anothers(boss: Administration, url: str) -> None:
    with granted(boss, url, roles(GROUP)) as urls:
        with pytest.raises(BrokerError, match="refused for user"):
            async with app(urls["consumer"], mode="create").running(consume=False):
                pass
        async with app(urls["maker"], mode="create").running(consume=False):
            pass
        async with app(urls["consumer"]).running(consume=False) as thief:
            with pytest.raises((PublishRefused, PublishUnknown), match="ACCESS_REFUSED"):
                await thief.publish(ORDERS, 1)
        for spy in (urls["publisher"], urls["operator"]):
            with pytest.raises(BrokerError, match="ACCESS_REFUSED"):
                async with Service(spy, GROUP).app.running():
                    pass


async def test_doctor_names_what_a_role_lacks(boss: Administration, url: str) -> None:
    async with app(url, mode="create").running(consume=False):
        pass
    with granted(boss, url, roles(GROUP)) as urls:
        assert not [found for found in await examined(app(urls["publisher"])) if found.trouble]
        assert not [found for found in await examined(Service(urls["consumer"], GROUP).app) if found.trouble]
        wrong = await examined(Service(urls["publisher"], GROUP).app)
    (lacking,) = [found for found in wrong if found.what == "consume orders.placed/group"]
    assert lacking.trouble is not None
    assert lacking.fix is not None
    assert lacking.trouble.endswith(
        "may not write orders.placed/group, write orders.placed/group/dead, read orders.placed/group"
    )
    assert r"'^(orders\.placed/group(/\d+)?)$'" in lacking.fix


async def test_doctor_names_what_the_members_of_an_ordered_group_share_by(boss: Administration, url: str) -> None:
    ordered = GROUPS["ordered"]
    async with Service(url, ordered, mode="create").app.running(consume=False):
        pass
    full = roles(ordered)
    less = msgspec.structs.replace(full["consumer"], configure=frozenset())
    with granted(boss, url, {"full": full["consumer"], "less": less}) as urls:
        assert not [found for found in await examined(Service(urls["full"], ordered).app) if found.trouble]
        wrong = await examined(Service(urls["less"], ordered).app)
    (lacking,) = [found.trouble for found in wrong if found.what == "consume orders.placed/group"]
    assert lacking is not None
    assert lacking.endswith("may not configure orders.placed/group/turn, configure orders.placed/group/members")


async def examined(app: App) -> list[Finding]:
    found: list[Finding] = []
    await examine(app, [], found.append)
    return found
