"""The form of an account: secrets can be set, replaced and deleted in it, never read."""

from typing import Any

from django import forms
from django.views.decorators.debug import sensitive_variables

from pixsim.core.admin.shown import ShownForm
from pixsim.core.forms import JsonField
from providers import services
from providers.models import ProviderAccount

CREDENTIALS = ["password", "jwt_token", "api_key", "api_key_paid", "cookies"]


class SecretInput(forms.PasswordInput):
    """An input for a secret that never renders one, also not after an error in the form."""

    def __init__(self) -> None:
        super().__init__(render_value=False, attrs={"autocomplete": "new-password", "size": 60})


class ProviderAccountForm(ShownForm):
    """An account with inputs for new secrets; stored secrets are never sent to the page."""

    new_password = forms.CharField(required=False, strip=False, widget=SecretInput)
    new_jwt_token = forms.CharField(required=False, label="New JWT token", widget=SecretInput)
    new_api_key = forms.CharField(required=False, label="New API key", widget=SecretInput)
    new_api_key_paid = forms.CharField(required=False, label="New paid API key", widget=SecretInput)
    new_cookies = JsonField(
        required=False, help_text="A JSON object: names and values.", widget=SecretInput
    )
    forget = forms.MultipleChoiceField(
        required=False,
        choices=[(name, name) for name in CREDENTIALS],
        widget=forms.CheckboxSelectMultiple,
        help_text="Secrets to delete.",
    )

    class Meta:
        model = ProviderAccount
        exclude: list[str] = []

    @sensitive_variables()
    def clean_new_cookies(self) -> Any:
        cookies = self.cleaned_data["new_cookies"]
        if cookies is not None and not isinstance(cookies, dict):
            raise forms.ValidationError("Cookies must be a JSON object of names and values.")
        return cookies

    @sensitive_variables()
    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        forgotten = set(self.cleaned_data.get("forget", ()))
        given = {name for name in CREDENTIALS if self.cleaned_data.get(f"new_{name}")}
        secrets = {*self.instance.stored_credentials} - forgotten | given
        changed = {*self.changed_data, *forgotten, *given}
        if self.instance._state.adding:
            changed |= services.EVERYTHING
        for name, text in services.problems_of(self.instance, changed, secrets=secrets).items():
            if name not in self.errors:
                self.add_error(name if name in self.fields else None, text)

    @sensitive_variables()
    def save(self, commit: bool = True) -> Any:
        for name in self.cleaned_data["forget"]:
            setattr(self.instance, name, None)
        for name in CREDENTIALS:
            if secret := self.cleaned_data[f"new_{name}"]:
                setattr(self.instance, name, secret)
        return super().save(commit)

    def changed_columns(self) -> list[str]:
        given = [name for name in CREDENTIALS if self.cleaned_data[f"new_{name}"]]
        return [*super().changed_columns(), *{*given, *self.cleaned_data["forget"]}]
