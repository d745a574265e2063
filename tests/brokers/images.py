"""The image of a broker: a public one, or where none can be pulled, one made of what native brokers are made of."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from tests.brokers.fetching import Cache
from tests.brokers.processes import run
from tests.brokers.recipe import Image
from tests.brokers.running import Broken, Unavailable

RABBITMQ = {
    "etc/rabbitmq/enabled_plugins": "[rabbitmq_management].\n",
    "etc/rabbitmq/rabbitmq.conf": "loopback_users = none\nlog.console = true\nlog.file = false\n"
    "vm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 50MB\n",
}
KAFKA = """\
#!/bin/sh
# As the public image: KAFKA_SOME_NAME___X is the setting some.name-x.
set -e
settings=/opt/kafka/server.properties data=/var/lib/kafka
echo "log.dirs=$data" >$settings
env | grep ^KAFKA_ | while IFS='=' read -r name value; do
  echo "$(printf %s "${name#KAFKA_}" | sed 's/___/-/g' | tr A-Z_ a-z.)=$value" >>$settings
done
java="java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.StatusLogger.level=OFF -cp /opt/kafka/libs/*"
set -f
[ -e $data/meta.properties ] || $java kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c $settings
exec $java kafka.Kafka $settings
"""
ELASTICMQ = """\
#!/bin/sh
exec java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dconfig.file=/opt/elasticmq.conf \\
  -cp '/opt/elasticmq/libs/*' org.elasticmq.server.Main
"""

POSTGRES = """\
#!/bin/sh
# As the public image: everybody needs a password, and POSTGRES_PASSWORD is that of the user `postgres`; POSTGRES_INITDB_ARGS.
set -e
PATH=/usr/lib/postgresql/17/bin:/usr/bin:/bin data=/var/lib/waybill
[ "$(id -u)" != 0 ] || { install -d -o postgres -m 700 $data; exec setpriv --reuid=postgres --regid=postgres --init-groups "$0"; }
printf %s "$POSTGRES_PASSWORD" >/tmp/password
make="initdb -D $data -U postgres --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 --no-sync"
[ -e $data/PG_VERSION ] || $make $POSTGRES_INITDB_ARGS
grep -q 'all all all' $data/pg_hba.conf || echo 'host all all all scram-sha-256' >>$data/pg_hba.conf
postgres -D $data -c listen_addresses='*' -c unix_socket_directories= &
trap "kill -INT $!" TERM  # to which PostgreSQL itself would wait until everybody has gone
wait $! || wait $!
"""


async def find_image(client: docker.DockerClient, image: Image, cache: Cache) -> str:
    """The name of an image that the engine has. Raises Unavailable."""
    if own := os.environ.get(image.variable):
        if not await present(client, own):
            await pull(client, own, cache)
        return own
    if await present(client, image.public):
        return image.public
    try:
        await pull(client, image.public, cache)
    except Unavailable as problem:
        if image.build is None:
            raise
        cache.say(f"{str(problem).splitlines()[0]} An image is made here instead …")
        return await image.build(cache)
    return image.public


async def present(client: docker.DockerClient, name: str) -> bool:
    """Whether the engine has the image already."""
    try:
        await asyncio.to_thread(client.images.get, name)
    except ImageNotFound:
        return False
    return True


async def pull(client: docker.DockerClient, name: str, cache: Cache) -> None:
    """Fetch an image from its registry. Raises Unavailable."""
    cache.say(f"pulling the image {name} …")
    try:
        await asyncio.to_thread(client.images.pull, name)
    except (APIError, DockerException) as problem:
        raise Unavailable(f"The image {name} cannot be pulled: {brief(problem)}") from problem


async def rabbitmq(cache: Cache, root: Path, version: str) -> str:
    """The root folder of the native RabbitMQ as an image."""
    environment = "RABBITMQ_NODENAME=rabbit@localhost RUNNING_UNDER_SYSTEMD=true LANG=C.UTF-8 HOME=/var/lib/rabbitmq"
    path = "PATH=/usr/lib/rabbitmq/bin:/usr/bin:/bin"
    command = 'CMD ["/usr/lib/rabbitmq/bin/rabbitmq-server"]'
    return await made(cache, f"waybill/rabbitmq:{version}", root, RABBITMQ, {}, f"ENV {environment} {path}", command)


async def kafka(cache: Cache, jars: Path, version: str) -> str:
    """A small Debian with Java and Kafka's jars."""
    files, folders = {"opt/kafka/start": KAFKA}, {"opt/kafka/libs": jars}
    return await made(
        cache, f"waybill/kafka:{version}-2", await java(cache), files, folders, 'CMD ["/opt/kafka/start"]'
    )


async def elasticmq(cache: Cache, jars: Path, version: str) -> str:
    """A small Debian with Java and ElasticMQ's jars."""
    files, folders = {"opt/elasticmq/start": ELASTICMQ}, {"opt/elasticmq/libs": jars}
    root = await java(cache)
    return await made(cache, f"waybill/elasticmq:{version}", root, files, folders, 'CMD ["/opt/elasticmq/start"]')


async def moto(cache: Cache, packages: Path, version: str) -> str:
    """A small Debian with Python and moto's packages."""
    root = await cache.debian("python-trixie", "trixie", "python3")
    command = 'CMD ["/usr/bin/python3", "-m", "moto.server", "-H", "0.0.0.0", "-p", "5000"]'
    path = "ENV PYTHONPATH=/opt/moto PYTHONDONTWRITEBYTECODE=1"
    return await made(cache, f"waybill/moto:{version}", root, {}, {"opt/moto": packages}, path, command)


async def postgres(cache: Cache, root: Path, version: str) -> str:
    """The root folder of the native PostgreSQL as an image."""
    return await made(cache, f"waybill/postgres:{version}", root, {"opt/start": POSTGRES}, {}, 'CMD ["/opt/start"]')


async def java(cache: Cache) -> Path:
    """The root folder of a small Debian with Java."""
    return await cache.debian("java-trixie", "trixie", "openjdk-21-jre-headless")


async def made(
    cache: Cache, name: str, root: Path, files: Mapping[str, str], folders: Mapping[str, Path], *changes: str
) -> str:
    """Import a root folder, and these files and folders over it, as an image, unless the engine has it."""
    client = docker.from_env()
    try:
        if not await present(client, name):
            cache.say(f"making the image {name} …")
            with tempfile.TemporaryDirectory(dir=cache.folder) as scratch:
                over, archive = Path(scratch, "over"), Path(scratch, "image.tar")
                for path in (*files, *folders):
                    (over / path).parent.mkdir(parents=True, exist_ok=True)
                for path, text in files.items():
                    (over / path).write_text(text)
                    (over / path).chmod(0o755)
                for path, folder in folders.items():
                    (over / path).symlink_to(folder.absolute())  # tar follows it
                # Nothing twice: `docker import` refuses that.
                without = ["--anchored", *(f"--exclude={path}" for path in files)]
                await tar("--create", archive, root, [path.name for path in root.iterdir()], *without)
                owned = ("--dereference", "--owner=0", "--group=0")
                await tar("--append", archive, over, [*files, *folders], *owned)
                await asyncio.to_thread(import_image, client, archive, name, list(changes))
    except DockerException as problem:
        raise Broken(f"The image {name} could not be made: {problem}") from problem
    finally:
        client.close()
    return name


async def tar(how: str, archive: Path, folder: Path, names: list[str], *options: str) -> None:
    """Put these things of the folder into the archive."""
    await run(
        "tar", how, "--numeric-owner", *options, "--file", str(archive), "-C", str(folder), *names,
        remedy="Is the disk full?",
    )  # fmt: skip


def brief(problem: DockerException) -> str:
    """What the engine said, without the request it said it to."""
    return str(getattr(problem, "explanation", None) or problem).splitlines()[0][:200]


def import_image(client: docker.DockerClient, archive: Path, name: str, changes: list[str]) -> None:
    """`docker import`."""
    repository, _, tag = name.partition(":")
    client.api.import_image_from_file(str(archive), repository=repository, tag=tag, changes=changes)
