"""The form of a log-in with a password: throttled, whichever site shows it."""

from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpResponse

from accounts import throttling
from accounts.throttling import TooManyLogIns


class LogInForm(AdminAuthenticationForm):
    """The admin's form. A refusal is an error of the form; the password is not looked at then."""

    refusal: TooManyLogIns | None = None

    def clean(self) -> dict[str, Any]:
        account, password = map(self.cleaned_data.get, ("username", "password"))
        if not account or not password:
            return super().clean()
        try:
            attempt = throttling.begin(account=account, address=throttling.address_of(self.request))
        except TooManyLogIns as refusal:
            self.refusal = refusal
            raise ValidationError(str(refusal), code="too_many") from refusal
        values = super().clean()
        throttling.succeed(attempt)
        return values


def answer_refusal(response: HttpResponse) -> HttpResponse:
    """Give a page that shows a refused log-in the status of one, and say when to try again."""
    form = (getattr(response, "context_data", None) or {}).get("form")
    refusal = getattr(form, "refusal", None)
    if refusal is not None:
        response.status_code = 429
        response["Retry-After"] = str(refusal.seconds)
    return response
