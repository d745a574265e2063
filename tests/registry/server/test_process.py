"""The server as a process: how it starts, how it ends, several workers, TLS, slow and hostile clients."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers.certificates import certificates
from tests.brokers.processes import below, started
from tests.registry.server.processes import COMMAND, PATIENCE, Server, server, until
from waybill.errors import ConfigurationError
from waybill_schema_registry.cli.serve import serve
from waybill_schema_registry.errors import StoreError


def test_it_ends_in_order_when_told_to(tmp_path: Path) -> None:
    with server("--store", f"sqlite:///{tmp_path / 'registry.db'}") as one:
        made = one.register("s")
        idle = socket.create_connection(("127.0.0.1", one.port))
        with idle:
            assert one.end(signal.SIGTERM) == 0
    with server("--store", f"sqlite:///{tmp_path / 'registry.db'}") as again:
        assert again.register("s") == made
        assert again.end(signal.SIGINT) == 0
    assert not [line for line in again.said if "Traceback" in line]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"store": "mysql://x"}, "names no store"),
        ({"store": "memory://", "workers": 2}, "each worker has a memory of its own"),
        ({"store": "memory://", "users": "missing.toml"}, "missing.toml"),
        ({"store": "memory://", "certificate": "missing.pem"}, "the certificate missing.pem"),
        ({"store": "memory://", "key": "server.key"}, "--certificate"),
        ({"store": "memory://", "host": "203.0.113.7"}, "--host is no address of this machine"),
    ],
)
def test_what_is_configured_wrongly_is_said(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        serve(port=0, **given)


def test_no_time_at_all_is_no_limit_a_server_can_keep() -> None:
    command = [*COMMAND, "--port", "0", "--store", "memory://", "--timeout", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, "--timeout" in done.stderr) == (2, True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_store_that_is_not_there_ends_it_at_once_and_shows_no_password(workers: int) -> None:
    with pytest.raises(StoreError) as error:
        serve(store="postgresql://waybill:hidden-word@127.0.0.1:1/registry", port=0, workers=workers)
    assert "hidden-word" not in str(error.value)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_is_taken_is_named(workers: int, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"):
            serve(store=f"sqlite:///{tmp_path / 'registry.db'}", port=port, workers=workers)


def test_a_failure_at_the_start_is_one_line(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'registry.db'}"
    done = subprocess.run(
        [*COMMAND, "--port", "0", "--store", store], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode in {1, 2}
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("workers") / "registry.db"
    with server("--store", f"sqlite:///{store}", "--workers", "2") as one:
        until(lambda: len(workers_of(one)) == 2 and len(ready(one)) == 2, "both workers run")
        yield one


def workers_of(one: Server) -> list[int]:
    return [pid for pid in below(one.pid) if started(pid)]


def ready(one: Server) -> list[str]:
    return [line for line in one.said if "started" in line]


def test_workers_agree_and_a_dead_one_is_replaced(two: Server) -> None:
    for number in range(20):
        made = two.register(f"w{number}", {"type": "fixed", "name": f"F{number}", "size": 4})
        assert {two.ask("GET", f"/schemas/ids/{made}")[0] for _ in range(8)} == {200}
    killed = workers_of(two)[0]
    before = len(ready(two))
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(ready(two)) > before, "the dead worker is replaced")
    assert killed not in workers_of(two)
    assert two.register("after") > 0


def test_workers_end_when_their_parent_is_killed(two: Server) -> None:
    workers = workers_of(two)
    assert len(workers) == 2
    two.process.kill()
    until(lambda: not any(map(started, workers)), "the workers have ended")


def test_several_workers_end_in_order(tmp_path: Path) -> None:
    with server("--store", f"sqlite:///{tmp_path / 'registry.db'}", "--workers", "2") as one:
        until(lambda: len(ready(one)) == 2, "both workers run")
        assert one.end(signal.SIGTERM) == 0
    assert not [line for line in one.said if "Traceback" in line]


def test_tls(tmp_path: Path) -> None:
    certificates(tmp_path)
    given = ["--certificate", str(tmp_path / "server.pem"), "--key", str(tmp_path / "server.key")]
    with server("--store", "memory://", *given) as one:
        trust = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        with urllib.request.urlopen(f"{one.url}/subjects", context=trust, timeout=PATIENCE) as answer:
            assert answer.read() == b"[]"


# --------------------------------------------------------------------------- clients that are slow, or worse


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with little patience."""
    limits = ["--head-timeout", "2", "--body-timeout", "2", "--max-connections", "20"]
    with server("--store", "memory://", *limits) as one:
        yield one


@contextlib.contextmanager
def connected(one: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", one.port), timeout=PATIENCE) as made:
        yield made


def everything(connection: socket.socket) -> bytes:
    """Until the server closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


HEAD = b"POST /subjects/s/versions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("sent", "begins"),
    [
        (b"", b""),
        (b"GET /subjects HT", b"HTTP/1.1 408"),
        (HEAD, b"HTTP/1.1 408"),
        (HEAD + b"Content-Length: 100\r\n\r\n{", b""),
        (b"GET /" + b"x" * 100_000, b"HTTP/1.1 431"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(10_000)), b"HTTP/1.1 431"),
        (b"no http at all\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /subjects/\xff HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", b"HTTP/1.1 400"),
    ],
)
def test_a_request_that_is_never_whole_does_not_stay(short: Server, sent: bytes, begins: bytes) -> None:
    with connected(short) as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # it need not be read to its end
            connection.sendall(sent)
        assert everything(connection)[: len(begins) or None] == begins
    assert until(lambda: _fine(short), "the server answers others")


def test_more_connections_than_may_be_are_closed_and_the_others_served(short: Server) -> None:
    with contextlib.ExitStack() as open_ones:
        many = [open_ones.enter_context(connected(short)) for _ in range(60)]
        closed = [everything(connection) for connection in many]
    assert closed == [b""] * 60
    assert until(lambda: _fine(short), "the server answers again")


def _fine(one: Server) -> bool:
    try:
        return one.ask("GET", "/subjects")[0] == 200
    except OSError:
        return False
