"""`python -m tests.brokers [up | down] [NAME …]`: brokers for a developer, until they are told to go."""

from __future__ import annotations

import argparse
import sys

from tests.brokers.cluster import NODES
from tests.brokers.kafka_cluster import KAFKA_NODES
from tests.brokers.plugin import describe
from tests.brokers.providers import RECIPES
from tests.brokers.running import Running
from tests.brokers.session import Session, connect, sessions

NAME = "kept"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


ALONE = [name for name in RECIPES if name not in {*NODES, *KAFKA_NODES}]
"""Brokers of one node."""


def up(names: list[str]) -> int:
    """Start them, and print what makes the tests use them."""
    session = Session(NAME, say)
    session.keep()
    found = session.start(names)
    session.close()
    for name in names:
        broker = found[name]
        if isinstance(broker, Running):
            print(f"export {RECIPES[name]().variable}={broker.url}")
        else:
            say(f"{name}: {describe(broker)}")
    say("They run until `make brokers-down`.")
    return int(not all(isinstance(found[name], Running) for name in names))


def down() -> int:
    if connection := connect(sessions() / NAME):
        connection.close()
        session = Session(NAME, say)
        session.down()
        session.close()
        say("The brokers are gone.")
    else:
        say("No brokers run.")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.brokers", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("up", "down"), default="up")
    parser.add_argument("names", nargs="*", choices=(*RECIPES, []), metavar="NAME", help=", ".join(RECIPES))
    arguments = parser.parse_args()
    return down() if arguments.what == "down" else up(arguments.names or ALONE)


if __name__ == "__main__":
    sys.exit(main())
