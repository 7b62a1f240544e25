"""Asking for a generation in the admin: what, by whom, and its parameters from the schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import AdminForm
from django.contrib.admin.widgets import (
    AdminSplitDateTime,
    AutocompleteSelect,
    ForeignKeyRawIdWidget,
)
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.datastructures import MultiValueDict
from django.utils.http import urlencode

from accounts.errors import AccountsError, LimitExceeded
from accounts.models import Profile
from jobs import services
from jobs.errors import GenerationRefused
from jobs.generation import inputs
from jobs.models import Job, OperationType, Workspace
from pixsim.core.priority import PRIORITIES
from providers.adapters import Adapter, all_adapters
from providers.adapters.params import Params
from providers.forms import ParamsForm, form_of
from providers.models import AccountStatus, ProviderAccount

# The limit of a tier → the field that asks for more than it allows.
FIELD_OF_LIMIT = {"highest_priority": "priority"}


@dataclass(frozen=True)
class Choice:
    """What can be asked for: an operation of a provider with one of its models."""

    adapter: Adapter
    operation: str
    model: str

    @property
    def schema(self) -> type[Params]:
        return self.adapter.operations[self.operation].models[self.model]

    @property
    def label(self) -> str:
        return OperationType(self.operation).label

    @property
    def url(self) -> str:
        """The page that asks for it."""
        query = {
            "provider": self.adapter.name,
            "operation": self.operation,
            "model": self.model,
        }
        return f"{reverse('admin:jobs_job_add')}?{urlencode(query)}"


class AskForm(forms.Form):
    """Whose job it is and when it is done; its parameters are a form of their own."""

    owner = forms.ModelChoiceField(
        Profile.objects.all(),
        required=False,
        widget=AutocompleteSelect(Job._meta.get_field("owner"), admin.site),
        help_text="Whose limits count and who pays. Empty: the system itself, which has no limits.",
    )
    name = forms.CharField(required=False, max_length=255, widget=forms.TextInput({"size": 60}))
    priority = forms.TypedChoiceField(
        choices=[("", "as the owner's tier has it"), *((n, n) for n in PRIORITIES)],
        coerce=int,
        empty_value=None,
        required=False,
        help_text="Higher is more urgent.",
    )
    scheduled_at = forms.SplitDateTimeField(
        required=False, label="Not before", widget=AdminSplitDateTime
    )
    parent = forms.ModelChoiceField(
        Job.objects.all(),
        required=False,
        label="Parent job",
        widget=ForeignKeyRawIdWidget(Job._meta.get_field("parent_job").remote_field, admin.site),
        help_text='It begins when that job is completed; "parent" as an input means what that made.',
    )
    workspace = forms.ModelChoiceField(
        Workspace.objects.all(),
        required=False,
        widget=ForeignKeyRawIdWidget(Job._meta.get_field("workspace").remote_field, admin.site),
    )
    idempotency_key = forms.CharField(
        required=False,
        max_length=100,
        widget=forms.TextInput({"size": 40}),
        help_text="The same key of the same owner makes one job, however often it is sent.",
    )


class FileInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class UploadForm(forms.Form):
    """Files from one's own computer in place of addresses: one input per parameter that takes media."""

    def __init__(self, schema: type[Params], *, data: Any = None, files: Any = None) -> None:
        super().__init__(data, files, prefix="upload")
        for name in inputs.media_fields(schema):
            self.fields[name] = forms.FileField(
                required=False,
                widget=FileInput,
                help_text=f"Becomes an asset of the owner, and the {name} of this job.",
            )

    def given(self, name: str) -> list[UploadedFile]:
        """The files that were sent for a parameter."""
        return list(self.files.getlist(self.add_prefix(name))) if self.files else []


class Asking:
    """The forms of one choice: as shown, as sent, and after a refusal."""

    def __init__(
        self,
        choice: Choice,
        *,
        data: QueryDict | None = None,
        files: MultiValueDict[str, UploadedFile] | None = None,
        like: Job | None = None,
    ) -> None:
        self.choice = choice
        self._data = data.copy() if data is not None else None
        self.ask = AskForm(data, initial=_values_of(like))
        self.uploads = UploadForm(choice.schema, data=data, files=files)
        self.params: ParamsForm = form_of(choice.schema)(
            self._data, prefix="params", initial=_params_of(like, choice)
        )

    def create(self) -> Job | None:
        """The job, if everything is in order; else None, and each error stands on its field."""
        # Both are looked at, so that all mistakes are shown at once.
        is_asked = self.ask.is_valid()
        refusals = self._upload() if is_asked else {}
        is_described = self.params.is_valid()
        for name, text in refusals.items():
            self.params.add_error(name, text)
        if refusals or not (is_asked and is_described):
            return None
        asked = self.ask.cleaned_data
        params = self.params.params
        try:
            return services.create_job(
                owner=asked["owner"],
                provider=self.choice.adapter.name,
                operation=self.choice.operation,
                model=self.choice.model,
                params=params.canonical() if params else {},
                priority=asked["priority"],
                scheduled_at=asked["scheduled_at"],
                parent=asked["parent"],
                workspace=asked["workspace"],
                name=asked["name"] or None,
                idempotency_key=asked["idempotency_key"] or None,
            )
        except GenerationRefused as refused:
            for field, text in refused.errors.items():
                self._refuse(field, text)
        except LimitExceeded as refused:
            self._refuse(FIELD_OF_LIMIT.get(refused.limit, "owner"), str(refused))
        except AccountsError as refused:
            self._refuse("owner", str(refused))
        return None

    def _upload(self) -> dict[str, str]:
        """Make the files that were sent assets of the owner, and let their parameters name them;
        the refusals. What was uploaded stays, also if something else is refused.
        """
        refusals = {}
        for name in self.uploads.fields:
            assets = []
            for file in self.uploads.given(name):
                try:
                    asset = services.upload_asset(
                        owner=self.ask.cleaned_data["owner"],
                        data=file.read(services.MAX_UPLOAD_BYTES + 1),
                        name=file.name or name,
                    )
                except GenerationRefused as error:
                    refusals[name] = " ".join(error.errors.values())
                else:
                    assets.append(f"{inputs.ASSET}{asset.pk}")
            if assets and self._data is not None:
                self._data[self.params.add_prefix(name)] = "\n".join(assets)
        return refusals

    def context(self, model_admin: Any) -> dict[str, Any]:
        """What the template shows."""
        asked = [
            (
                "Whose and when",
                {"fields": ["owner", "name", "priority", "scheduled_at", "parent"]},
            ),
            ("More", {"classes": ["collapse"], "fields": ["workspace", "idempotency_key"]}),
        ]
        params = [("Parameters", {"fields": list(self.params.fields)})]
        names = list(self.uploads.fields)
        uploads = [("Or files from your computer", {"fields": names})] if names else []
        # The helper draws any form; its stub knows those of models only.
        drawn: Any = AdminForm
        return {
            "choice": self.choice,
            "others": list(_models(self.choice)),
            "params_form": drawn(self.params, params, {}, model_admin=model_admin),
            "upload_form": drawn(self.uploads, uploads, {}, model_admin=model_admin),
            "ask_form": drawn(self.ask, asked, {}, model_admin=model_admin),
            "errors": bool(self.ask.errors or self.params.errors),
            "general_errors": [
                *self.ask.non_field_errors(),
                *self.params.non_field_errors(),
            ],
            "media": model_admin.media + self.ask.media + self.params.media,
            "hint": _account_hint(self.choice.adapter),
        }

    def _refuse(self, field: str, text: str) -> None:
        """Put a refusal where it belongs."""
        place, _, name = field.partition(".")
        if place == "params":
            name = name.partition(".")[0]
            self.params.add_error(name if name in self.params.fields else None, text)
        elif field in self.ask.fields:
            self.ask.add_error(field, text)
        else:
            self.ask.add_error(None, f"{field}: {text}")


def chosen(query: Mapping[str, str]) -> Choice | None:
    """What the page's address asks for; None if nothing, or nothing that there is."""
    adapter = all_adapters().get(query.get("provider", ""))
    if adapter is None:
        return None
    operation = adapter.operations.get(query.get("operation", ""))
    if operation is None:
        return None
    model = query.get("model") or operation.default_model
    return Choice(adapter, operation.name, model) if model in operation.models else None


def choice_of(job: Job) -> Choice | None:
    """What the job asked for, if that is still offered."""
    return chosen(
        {
            "provider": job.provider_id,
            "operation": job.operation_type,
            "model": job.model or "",
        }
    )


def all_choices() -> list[dict[str, Any]]:
    """Every provider with its operations, for the page on which one is chosen."""
    return [
        {
            "adapter": adapter,
            "hint": _account_hint(adapter),
            "operations": [
                {
                    "label": OperationType(name).label,
                    "models": [Choice(adapter, name, model) for model in operation.models],
                }
                for name, operation in adapter.operations.items()
            ],
        }
        for adapter in all_adapters().values()
    ]


def like_of(request: HttpRequest) -> Job | None:
    """The job that is to be asked for again, if one is named."""
    number = request.GET.get("like", "")
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        return None
    return Job.objects.select_related("owner").filter(pk=int(number)).first()


def _models(choice: Choice) -> Iterator[Choice]:
    """The same with every model that there is."""
    operation = choice.adapter.operations[choice.operation]
    return (Choice(choice.adapter, choice.operation, model) for model in operation.models)


def _account_hint(adapter: Adapter) -> str:
    """What is missing before a job of this provider can run; empty if nothing is."""
    if adapter.credential is None:
        return ""
    statuses: Iterable[str] = ProviderAccount.objects.filter(provider_id=adapter.name).values_list(
        "status", flat=True
    )
    known = set(statuses)
    if not known:
        return "It has no account yet: jobs wait until one is added."
    if known <= {AccountStatus.DISABLED, AccountStatus.ERROR}:
        return "None of its accounts takes work now: jobs wait until one does."
    return ""


def _values_of(like: Job | None) -> dict[str, Any]:
    if like is None:
        return {}
    return {
        "owner": like.owner_id,
        "name": like.name,
        "priority": like.priority,
        "workspace": like.workspace_id,
        "parent": like.parent_job_id,
    }


def _params_of(like: Job | None, choice: Choice) -> dict[str, Any]:
    if like is None:
        return {}
    return {
        name: value for name, value in like.params.items() if name in choice.schema.model_fields
    }
