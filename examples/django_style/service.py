"""The application that the site and its worker share. In a Django project: a module beside `models.py`."""

from examples.django_style.contracts import Signup, signups
from waybill import App

app = App("site")


@app.consume(signups)
def welcome(signup: Signup) -> None:
    """Plain code, as the ORM is: it runs in a thread."""
    print(f"worker: welcome, {signup.email}\n", end="", flush=True)  # in one piece: several threads print
