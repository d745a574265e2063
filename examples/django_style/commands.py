"""Management commands. In a Django project: `management/commands/consume.py`, and whatever forks the web workers."""

import multiprocessing

from examples.django_style.contracts import Signup, signups
from examples.django_style.http import HttpRequest
from examples.django_style.service import app
from examples.django_style.views import sign_up

__all__ = ["consume", "serve"]


def consume() -> None:
    """`manage.py consume`: until SIGTERM or Ctrl-C, then in order."""
    app.run()


def serve() -> None:
    """A server that loads the site once and forks its workers, as gunicorn does with `--preload`.

    No connection may come along into a fork: the parent's is closed before each, and whoever publishes next connects anew.
    """
    app.sync.publish(signups, Signup("user-0@example.org"))
    print("parent: published before it forked", flush=True)
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=answer, args=(number,)) for number in (1, 2)]
    for child in children:
        child.start()
    for child in children:
        child.join()


def answer(number: int) -> None:
    """A forked worker, and its one request."""
    response = sign_up(HttpRequest(POST={"email": f"user-{number}@example.org"}))
    print(f"child {number}: {response.status} {response.content}", flush=True)
