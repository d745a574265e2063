"""A view: it publishes, and the worker does the work. There is nothing to start: the first publish connects."""

from examples.django_style.contracts import Signup, signups
from examples.django_style.http import HttpRequest, HttpResponse
from examples.django_style.service import app
from waybill import PublishError

__all__ = ["sign_up"]


def sign_up(request: HttpRequest) -> HttpResponse:
    try:
        app.sync.publish(signups, Signup(request.POST["email"]), deadline=2.0)
    except PublishError:
        return HttpResponse("please try again", status=503)
    return HttpResponse("thank you", status=202)
