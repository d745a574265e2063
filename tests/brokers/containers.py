"""A broker as a container, through testcontainers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from tests.brokers.broker import Broker
from tests.brokers.fetching import Cache
from tests.brokers.images import find_image
from tests.brokers.processes import free_port, started
from tests.brokers.recipe import Address, Recipe
from tests.brokers.running import Broken, Unavailable

LABEL = "waybill.tests.session"
"""Each container is labelled with the machine and the process that started it."""

testcontainers_config.ryuk_disabled = True  # it would have to be pulled; the keeper, and `sweep` after it, do its work


async def container(recipe: Recipe, cache: Cache) -> Broker:
    """A container of this recipe, not started yet. Raises Unavailable without an engine or an image."""
    if (image := recipe.image) is None:
        raise Unavailable("It runs natively only.")
    try:
        client = await asyncio.to_thread(docker.from_env)
    except DockerException as problem:
        raise Unavailable(f"No Docker engine answers ({str(problem).splitlines()[0][:120]}).") from problem
    try:
        await asyncio.to_thread(sweep, client)
        name = await find_image(client, image, cache)
    finally:
        client.close()
    return Container(recipe, image.port, name)


class Container(Broker):
    """Its ports on the host are chosen before: Docker's own choice changes at each start."""

    provider = "container"

    def __init__(self, recipe: Recipe, port: int, image: str) -> None:
        self.recipe, self.version = recipe, image.rpartition(":")[2].partition("-")[0]
        self.container: Any = DockerContainer(image)
        self.name = f"waybill-{secrets.token_hex(6)}"  # known before it is made, so that it is found even half made
        self.container.with_name(self.name)
        self.starting: asyncio.Task[Any] | None = None
        host = self.container.get_docker_client().host()
        near = host == "localhost"  # else the engine is elsewhere, and its loopback interface is not ours
        self.at = Address("127.0.0.1" if near else host, free_port(), {name: free_port() for name in recipe.further})
        pairs = [(port, self.at.port), *((inner, self.at.further[name]) for name, inner in recipe.further.items())]
        ports: dict[str, Any] = self.container.ports
        for inner, outer in pairs:
            if inner:
                ports[str(inner)] = (self.at.host, outer) if near else outer
        self.container.with_kwargs(labels={LABEL: f"{socket.gethostname()}:{os.getpid()}:{started(os.getpid())}"})
        self.container.with_envs(**recipe.environment(self.at))
        for path, text in recipe.files(self.at).items():
            self.container.with_copy_into_container(text.encode(), path)

    async def create(self) -> None:
        self.starting = asyncio.create_task(self._do(self.container.start))
        await asyncio.shield(self.starting)
        await self.ready(self._last_words)
        await asyncio.to_thread(self._check_ports)

    async def start(self) -> None:
        await self._do(self._docker.start)
        await self.ready(self._last_words)

    async def restart(self) -> None:
        with contextlib.suppress(Broken):
            await self.resume()  # a paused one cannot be stopped
        await self._do(self._docker.restart, timeout=20)
        await self.ready(self._last_words)

    async def pause(self) -> None:
        await self._do(self._docker.pause)

    async def resume(self) -> None:
        await self._do(self._docker.unpause)

    async def kill(self) -> None:
        await self._do(self._docker.kill)
        await self._do(self._docker.wait)

    async def stop(self) -> None:
        await self._do(self._docker.stop, timeout=20)

    async def run(self, *command: str) -> str:
        code, output = await self._do(self._docker.exec_run, cmd=[*command])
        if code:
            raise Broken(f"{command[0]} ended with {code}:\n{output.decode(errors='replace')[-1000:]}")
        text: str = output.decode(errors="replace").strip()
        return text

    async def discard(self) -> None:
        if self.starting is not None:
            await asyncio.wait([self.starting])  # a container that is being made cannot be removed yet
        end = time.monotonic() + 30
        while True:
            try:
                await asyncio.to_thread(lambda: self._docker.remove(force=True, v=True))
            except NotFound:
                break
            except APIError:  # one that is being restarted just now cannot be removed yet
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)

    @property
    def _docker(self) -> Any:
        return self.container.get_docker_client().client.containers.get(self.name)

    async def _do(self, call: Any, **options: Any) -> Any:
        try:
            return await asyncio.to_thread(call, **options)
        except DockerException as problem:
            raise Broken(str(problem)) from problem

    def _check_ports(self) -> None:
        """Another program might listen where we believe the container to."""
        if not (bindings := self._docker.attrs["NetworkSettings"]["Ports"]):
            raise Broken("The engine publishes no port of the container.")
        found = {int(binding["HostPort"]) for several in bindings.values() for binding in several or ()}
        if self.at.port not in found:
            raise Broken(f"The engine does not publish port {self.at.port} of the container, but {sorted(found)}.")

    def _last_words(self) -> str | None:
        found = self._docker
        return None if found.status == "running" else found.logs(tail=40).decode(errors="replace")


def sweep(client: docker.DockerClient) -> None:
    """Remove the containers of this machine whose keeper is gone."""
    for left in client.containers.list(all=True, filters={"label": LABEL}):
        machine, pid, begin = left.labels[LABEL].rsplit(":", 2)
        if machine == socket.gethostname() and started(int(pid)) != begin:
            with contextlib.suppress(APIError):  # another one is removing it, or has
                left.remove(force=True, v=True)
