"""What errors say: of their message, of a dependency, and when to try again."""

from __future__ import annotations

import asyncio
import socket
import ssl
import urllib.error
from datetime import UTC, datetime, timedelta
from email.message import Message as Headers
from email.utils import format_datetime
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pydantic
import pytest

from waybill import App, ConfigurationError, Reject, Retry, RetryAfter, Topic
from waybill.asked import retry_after
from waybill.classifying import Kinds, disposition, usual

numbers = Topic("numbers", int)


class BankDownError(Exception):
    pass


class CardDeclinedError(Exception):
    pass


class StolenCardError(CardDeclinedError):
    pass


def answer(status: int, **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://bank.test")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status, headers=headers))


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("anything"), "transient"),
        (TimeoutError(), "transient"),
        (ConnectionRefusedError(), "systemic"),
        (socket.gaierror(), "systemic"),
        (ssl.SSLError(), "systemic"),
        (ModuleNotFoundError(), "systemic"),
        (NotImplementedError(), "permanent"),
        (msgspec.ValidationError(), "permanent"),
        (httpx.ConnectError("nobody there"), "systemic"),
        (httpx.ReadTimeout("slow"), "transient"),
        (answer(404), "transient"),
        (answer(422), "permanent"),
        (answer(401), "systemic"),
        (answer(429), "transient"),
        (answer(500), "transient"),
        (answer(503), "systemic"),
        (urllib.error.HTTPError("http://bank.test", 410, "gone", Headers(), None), "permanent"),
        (SystemExit(422), "transient"),
    ],
)
def test_the_usual_errors_have_a_kind_without_a_table(error: BaseException, kind: str) -> None:
    assert usual(error) == kind
    if isinstance(error, urllib.error.HTTPError):
        error.close()


def test_what_pydantic_says_of_values_is_permanent() -> None:
    with pytest.raises(pydantic.ValidationError) as raised:
        pydantic.TypeAdapter(int).validate_python("no number")
    assert usual(raised.value) == "permanent"


def test_the_nearest_table_decides_and_in_it_the_most_specific_class() -> None:
    kinds = Kinds({CardDeclinedError: "permanent", Exception: "transient"}, {StolenCardError: "poison"})
    assert kinds.of(CardDeclinedError()) == "permanent"
    assert kinds.of(StolenCardError()) == "permanent"
    assert kinds.of(ConnectionRefusedError()) == "transient"
    assert Kinds({}, {StolenCardError: "poison"}).of(StolenCardError()) == "poison"


def test_a_function_looks_at_the_error_and_may_leave_it_to_others() -> None:
    def by_code(error: BaseException) -> Any:
        return {"51": "transient", "43": "poison"}.get(str(error))

    kinds = Kinds({CardDeclinedError: by_code}, {CardDeclinedError: "permanent"})
    assert [kinds.of(CardDeclinedError(code)) for code in ("51", "43", "05")] == ["transient", "poison", "permanent"]


@pytest.mark.parametrize("said", [1 / 1, "nonsense"])
def test_a_function_that_breaks_or_says_nonsense_counts_as_not_knowing(
    said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: BaseException) -> Any:
        if said == "nonsense":
            return said
        raise LookupError("a bug")

    assert Kinds({Exception: broken}).of(ConnectionError()) == "systemic"
    assert "table of errors" in caplog.text


def test_of_a_group_of_errors_the_gravest_counts() -> None:
    group = ExceptionGroup("both", [ConnectionError(), ExceptionGroup("deep", [answer(422)])])
    assert Kinds().of(group) == "permanent"


def test_of_a_group_a_table_for_all_errors_speaks_of_each_and_one_for_groups_of_the_whole() -> None:
    group = ExceptionGroup("both", [ConnectionError(), CardDeclinedError()])
    assert Kinds({Exception: "transient", CardDeclinedError: "permanent"}).of(group) == "permanent"
    assert Kinds({ExceptionGroup: "systemic", CardDeclinedError: "permanent"}).of(group) == "systemic"


def test_what_breaks_when_looked_at_is_transient() -> None:
    class OddError(Exception):
        @property
        def response(self) -> object:
            raise RuntimeError("no")

    assert usual(OddError()) == "transient"
    assert retry_after(OddError(), 0.0) is None


def test_a_wait_that_is_beyond_all_numbers_is_none() -> None:
    class OddError(Exception):
        retry_after = 10**400

    assert retry_after(OddError(), 0.0) is None


@pytest.mark.parametrize("table", [{"ValueError": "poison"}, {int: "poison"}, {ValueError: "posion"}, ["ValueError"]])
def test_what_is_no_table_is_refused_for_a_handler_and_for_an_application(table: Any) -> None:
    with pytest.raises(ConfigurationError, match="errors="):
        App("a", errors=table)
    with pytest.raises(ConfigurationError, match="errors="):
        App("a").consume(numbers, errors=table)(lambda value: None)


# ---------------------------------------------------------------- what follows


@pytest.mark.parametrize(
    ("error", "attempts", "reason", "disposition"),
    [
        (BankDownError(), 3, "retries_exhausted", "systemic"),
        (ValueError(), 3, "retries_exhausted", "transient_exhausted"),
        (CardDeclinedError(), 1, "non_retryable", "poison"),
        (StolenCardError(), 1, "non_retryable", "poison"),
        (Reject("no"), 1, "rejected", "poison"),
        (PermissionError(), 1, "non_retryable", "poison"),
        (answer(503), 2, "retries_exhausted", "systemic"),
        (NotImplementedError(), 2, "retries_exhausted", "transient_exhausted"),
    ],
)
async def test_the_kind_decides_about_attempts_and_what_the_letter_says_of_a_redrive(
    error: Exception, attempts: int, reason: str, disposition: str
) -> None:
    app = App("a", errors={BankDownError: "systemic", CardDeclinedError: "transient"})
    calls = 0

    @app.consume(
        numbers,
        retry=Retry.fixed(
            3,
            delay=1,
            never=[PermissionError],
            per={httpx.HTTPError: Retry.fixed(2, delay=1), NotImplementedError: Retry.fixed(2, delay=1)},
        ),
        errors={CardDeclinedError: "permanent"},
    )
    async def handle(_: int) -> None:
        nonlocal calls
        calls += 1
        raise error

    async with app.test() as bus:
        await bus.publish(numbers, 1)
        await bus.drain()
        (letter,) = bus.dead_letters(numbers)
    assert (calls, letter.reason, letter.record.disposition) == (attempts, reason, disposition)


FIXED = Retry.fixed(5, delay=1)


@pytest.mark.parametrize(
    ("error", "table", "retry", "calls", "reason"),
    [
        (TimeoutError(), {TimeoutError: "transient"}, Retry.fixed(5, delay=1, never=[OSError]), 5, "retries_exhausted"),
        (RetryAfter(2), {}, Retry.fixed(5, delay=1, never=[Exception]), 5, "retries_exhausted"),
        (ExceptionGroup("g", [ValueError()]), {}, Retry.fixed(5, delay=1, never=[ValueError]), 1, "non_retryable"),
        (ExceptionGroup("g", [ValueError()]), {}, Retry.fixed(5, delay=1, never=[Exception]), 1, "non_retryable"),
        (ExceptionGroup("g", [KeyError(), ValueError()]), {}, Retry.fixed(5, delay=1, per={ValueError: Retry.none()}), 1, "retries_exhausted"),
        (ExceptionGroup("g", [KeyError()]), {}, Retry.fixed(2, delay=1, per={KeyError: FIXED}), 5, "retries_exhausted"),
        (ExceptionGroup("g", [KeyError(), ValueError()]), {KeyError: "permanent"}, FIXED, 1, "non_retryable"),
        (ExceptionGroup("g", [KeyError(), Reject("no")]), {}, FIXED, 1, "rejected"),
    ],
)  # fmt: skip
async def test_a_table_is_asked_before_the_policy_and_of_a_group_each_error(
    error: Exception, table: Any, retry: Retry, calls: int, reason: str
) -> None:
    app, tried = App("a"), list[int]()

    @app.consume(numbers, retry=retry, errors=table)
    async def handle(number: int) -> None:
        tried.append(number)
        raise error

    async with app.test() as bus:
        await bus.publish(numbers, 1)
        await bus.drain()
        (letter,) = bus.dead_letters(numbers)
    assert (len(tried), letter.reason) == (calls, reason)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("decode_error", "poison"),
        ("crashed", "poison"),
        ("expired", "policy"),
        ("redrive_limit", "policy"),
        ("unknown", ""),
    ],
)
def test_a_reason_without_an_error_says_it_too(reason: str, said: str) -> None:
    assert disposition(reason) == said


def test_what_was_tried_for_too_long_may_work_now() -> None:
    assert disposition("expired", "transient") == "transient_exhausted"
    assert disposition("expired", "systemic") == "systemic"


# ---------------------------------------------------------------- when to try again

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(seconds=90)


def saying(**more: Any) -> Exception:
    error = Exception("busy")
    for name, value in more.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (ValueError(), None),
        (saying(retry_after=7), 7),
        (saying(retry_after=0.5), 0.5),
        (saying(retry_after=timedelta(minutes=1)), 60),
        (saying(retry_after="12"), 12),
        (saying(retry_after=SOON), 90),
        (saying(retry_after=-3), 0),
        (saying(retry_after=True), None),
        (saying(retry_after=float("nan")), None),
        (saying(retry_after=lambda: 3), None),
        (answer(429, **{"retry-after": "30"}), 30),
        (answer(503, **{"Retry-After": format_datetime(SOON, usegmt=True)}), 90),
        (answer(503, **{"Retry-After": SOON.strftime("%a %b %d %H:%M:%S %Y")}), 90),
        (answer(503, **{"Retry-After": "soon"}), None),
        (saying(headers={"RETRY-AFTER": b"4"}), 4),
        (saying(response=SimpleNamespace(headers=None)), None),
        (ExceptionGroup("both", [saying(retry_after=3), saying(retry_after=9), ValueError()]), 9),
    ],
)
def test_an_error_says_when_to_try_again(error: BaseException, seconds: float | None) -> None:
    assert retry_after(error, NOW.timestamp()) == seconds


def wait(policy: Retry, least: float, chance: float = 0.0) -> Any:
    return policy.decide(1, ValueError(), age=0, chance=chance, least=least)


def test_it_is_waited_for_so_long_at_least_and_not_longer_than_is_heeded() -> None:
    policy = Retry.exponential(5, first=4, cap=60, heed=100)
    assert wait(policy, 7).delay == 7
    assert wait(policy, 7, chance=0.99).delay == pytest.approx(7.693)  # not all at the same moment
    assert wait(policy, 1, chance=0.99).delay == pytest.approx(3.96)  # the policy waits longer
    assert wait(policy, 10_000).delay == 100
    assert wait(Retry.fixed(5, delay=2, heed=0), 10_000).delay == 2


async def test_a_dependency_that_asks_to_wait_is_waited_for() -> None:
    app = App("a")

    @app.consume(numbers, retry=Retry.fixed(4, delay=1))
    async def handle(number: int) -> None:
        raise (answer(HTTPStatus.TOO_MANY_REQUESTS, **{"Retry-After": "120"}) if number == 1 else RetryAfter(9000))

    async with app.test() as bus:
        await bus.publish(numbers, 1)
        await bus.drain()
        assert all(120 <= after <= 132 for after in bus.retries(numbers))
        await bus.publish(numbers, 2)
        await bus.drain()
        assert bus.retries(numbers)[3:] == [9000] * 3


async def test_the_longest_wait_that_is_asked_for_in_a_group_counts() -> None:
    app = App("a")

    @app.consume(numbers, retry=Retry.fixed(2, delay=1))
    async def handle(_: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wait_for(RetryAfter(500)))
            tasks.create_task(wait_for(RetryAfter(60)))

    async def wait_for(error: Exception) -> None:
        raise error

    async with app.test() as bus:
        await bus.publish(numbers, 1)
        await bus.drain()
        assert bus.retries(numbers) == [500]


def test_a_wait_that_cannot_be_heeded_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="heed"):
        Retry.fixed(3, delay=1, heed=-1)
