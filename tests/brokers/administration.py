"""What an administrator does to a RabbitMQ: virtual hosts, users with few rights, connections, and whatever `rabbitmqctl` can."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from tests.brokers.owning import ours
from tests.brokers.running import Broken, Running

WORKERS = """
    Missing = fun() ->
        Strategy = {longstr, <<"at-least-once">>},
        Queues = [Queue || Queue <- rabbit_amqqueue:list(),
            rabbit_misc:table_lookup(amqqueue:get_arguments(Queue), <<"x-dead-letter-strategy">>) =:= Strategy],
        length(Queues) - proplists:get_value(active, supervisor:count_children(rabbit_fifo_dlx_sup))
    end,
    Wait = fun Wait(0) -> Missing(); Wait(Left) ->
        case Missing() of
            Some when Some > 0 -> timer:sleep(50), Wait(Left - 1);
            _ -> settled
        end
    end,
    Wait(600).
"""
"""Waits for 30 s at most; else says how many workers are missing."""


class Administration:
    """One RabbitMQ of ours. Every call blocks; in a coroutine, call it by `asyncio.to_thread`."""

    def __init__(self, broker: Running) -> None:
        """Leaves the test out where the broker is not ours."""
        self.broker = ours(broker)
        host = urlsplit(broker.url).hostname
        self.url = f"http://{host}:{broker.further['management']}/api"
        """The management API, for `guest`, whose password is `guest`."""

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the management API; parts of the path are quoted already. Raises HTTPError."""
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Basic {base64.b64encode(b'guest:guest').decode()}",
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, headers, method=method)
        end = time.monotonic() + 10
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as problem:  # the API may fail for a second after the broker is ready
                if problem.code < 500 or time.monotonic() > end:
                    raise
            time.sleep(0.1)

    @contextlib.contextmanager
    def vhost(self) -> Iterator[str]:
        """The URL of a virtual host of the test's own, which goes with all that is in it."""
        name = f"test-{secrets.token_hex(6)}"
        self.ask("PUT", f"vhosts/{name}")
        try:
            yield f"{self.broker.url}{name}"
        finally:
            self.ask("DELETE", f"vhosts/{name}")

    @contextlib.contextmanager
    def user(self, url: str, *, configure: str = "", write: str = "", read: str = "") -> Iterator[str]:
        """The same URL for a user with no more than these rights there: regular expressions of names, "" for none."""
        name, password, parts = f"user-{secrets.token_hex(6)}", secrets.token_hex(12), urlsplit(url)
        self.ask("PUT", f"users/{name}", {"password": password, "tags": ""})
        try:
            rights = {"configure": configure or "^$", "write": write or "^$", "read": read or "^$"}
            self.ask("PUT", f"permissions/{quote(vhost_of(url), safe='')}/{name}", rights)
            yield urlunsplit(parts._replace(netloc=f"{name}:{password}@{parts.hostname}:{parts.port}"))
        finally:
            self.ask("DELETE", f"users/{name}")

    def close_connections(self, url: str) -> None:
        """Close every connection to this URL's virtual host."""
        self.ctl("close_all_connections", "--vhost", vhost_of(url), "a test closes them")

    def store(self) -> None:
        """Have what was declared just now on the disk: RabbitMQ may lose it for a second or two when it is killed."""
        self.ctl("eval", "catch mnesia:sync_log(), [dets:sync(T) || T <- dets:all()].")

    def settle(self) -> None:
        """After a restart, and before any queue is removed: wait until each queue that dead-letters at least once has its worker.

        Removing many of them while their workers start ends the supervisor of those workers (4.0.5), and then no such queue can
        be declared any more.
        """
        if (said := self.ctl("eval", WORKERS)) != "settled":
            raise Broken(f"The workers that dead-letter at least once do not start: {said}")

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl`, and return what it printed."""
        return self.broker.run("rabbitmqctl", "--quiet", *arguments)


def vhost_of(url: str) -> str:
    """The virtual host that a URL names."""
    return urlsplit(url).path.removeprefix("/") or "/"
