"""The forms by which the admin adds a generation; the parameters' form comes from their schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import AdminForm
from django.contrib.admin.widgets import (
    AdminSplitDateTime,
    ForeignKeyRawIdWidget,
)
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from accounts.admin import own_or_systems
from accounts.errors import AccountsError
from accounts.models import Profile
from jobs import services
from jobs.errors import GenerationRefused
from jobs.generation import inputs
from jobs.models import Job, JobQuerySet, OperationType, Workspace
from pixsim.core.admin.base import AutocompleteSelect
from pixsim.core.priority import PRIORITIES
from providers import model_dates
from providers.adapters import Adapter, all_adapters
from providers.adapters.params import Params
from providers.forms import ParamsForm, form_of
from providers.models import AccountStatus, ProviderAccount

# The limit or feature of a tier → the field that asks for more than it allows.
LIMIT_FIELDS = {"highest_priority": "priority", "schedule": "scheduled_at"}
FILES_LOST = (
    "Your files were not kept, since nobody owns them yet: choose the owner and them again."
)


@dataclass(frozen=True)
class Choice:
    """An operation of a provider, with one of its models."""

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
        asked = {"provider": self.adapter.name, "operation": self.operation, "model": self.model}
        return f"{reverse('admin:jobs_job_add')}?{urlencode(asked)}"


class JobForm(forms.Form):
    """All values of a job except its parameters. `services.create_job` checks them."""

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

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        """Offer what the user may see; whose list they may not see, they choose among their own."""
        super().__init__(*args, **kwargs)
        for name in ("owner", "parent", "workspace"):
            field: Any = self.fields[name]
            model = field.queryset.model
            may_list = admin.site.get_model_admin(model).has_view_permission(request)
            rows = field.queryset.all()
            field.queryset = (
                rows.visible_to(request.user) if may_list else rows.of_user(request.user)
            )
            if not may_list:
                field.widget = forms.Select()
                field.widget.choices = field.choices
        own_or_systems(request, self.fields["owner"])


class FileInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Any number of files. `JobForms` reads and checks them."""

    widget = FileInput

    def clean(self, data: Any, initial: Any = None) -> Any:
        return data


class UploadForm(forms.Form):
    """One file input for each parameter that takes media."""

    def __init__(self, schema: type[Params], *, data: Any = None, files: Any = None) -> None:
        super().__init__(data, files, prefix="upload")
        for name in inputs.media_fields(schema):
            self.fields[name] = FilesField(
                required=False,
                help_text=f"Becomes an asset of the owner, and the {name} of this job.",
            )


class JobForms:
    """The forms of one choice: as shown, as sent, and after a refusal."""

    def __init__(
        self,
        choice: Choice,
        request: HttpRequest,
        *,
        data: QueryDict | None = None,
        like: Job | None = None,
    ) -> None:
        self.choice = choice
        self._data = data.copy() if data is not None else None
        self.job = JobForm(data, request=request, initial=_values_of(like) if like else None)
        self.uploads = UploadForm(choice.schema, data=data, files=request.FILES)
        self.params: ParamsForm = form_of(choice.schema)(
            self._data, prefix="params", initial=dict(like.params) if like else None
        )

    def create(self, *, actor: Profile | None) -> Job | None:
        """Create the job; on a refusal return None, with each error on its field."""
        # Both forms are validated, so that all mistakes are shown at once.
        is_valid = self.job.is_valid()
        refusals = self._upload(actor)
        is_valid = self.params.is_valid() and is_valid
        bad = inputs.bad_addresses(self.choice.schema, self.params.cleaned_data)
        refusals |= {error.field.partition(".")[0]: error.message for error in bad}
        for name, text in refusals.items():
            self.params.add_error(name, text)
        if refusals or not is_valid:
            return None
        values = self.job.cleaned_data
        params = self.params.params
        try:
            return services.create_job(
                provider=self.choice.adapter.name,
                operation=self.choice.operation,
                model=self.choice.model,
                params=params.given() if params else {},
                actor=actor,
                **values | {name: values[name] or None for name in ("name", "idempotency_key")},
            )
        except GenerationRefused as refused:
            for field, text in refused.errors.items():
                self._add_error(field, text)
        except AccountsError as refused:
            self._add_error(LIMIT_FIELDS.get(refused.subject, "owner"), str(refused))
        return None

    def _upload(self, actor: Profile | None) -> dict[str, str]:
        """Store the files as assets of the owner, and name them in their parameters.

        Return the refusals. An uploaded asset stays, also if something else is refused: the form
        that is shown again names it.
        """
        if "owner" in self.job.errors:
            return {name: FILES_LOST for name in self.uploads.fields if self._files(name)}
        refusals = {}
        for name in self.uploads.fields:
            assets = []
            for file in self._files(name):
                try:
                    asset = services.upload_asset(
                        owner=self.job.cleaned_data["owner"],
                        data=file.read(services.MAX_UPLOAD_BYTES + 1),
                        name=file.name or name,
                        actor=actor,
                    )
                except GenerationRefused as error:
                    refusals[name] = " ".join(error.errors.values())
                else:
                    assets.append(f"{inputs.ASSET}{asset.pk}")
            if assets and self._data is not None:
                self._data[self.params.add_prefix(name)] = "\n".join(assets)
        return refusals

    def _files(self, name: str) -> list[Any]:
        files: Any = self.uploads.files
        return files.getlist(self.uploads.add_prefix(name)) if files else []

    def context(self, model_admin: Any) -> dict[str, Any]:
        """Return the context of the template `admin/jobs/job/add.html`."""
        first = ["owner", "name", "priority", "scheduled_at", "parent"]
        more = {"classes": ["collapse"], "fields": ["workspace", "idempotency_key"]}
        uploads = list(self.uploads.fields)

        def drawn(form: forms.Form, *fieldsets: tuple[str, dict[str, Any]]) -> Any:
            # The helper draws any form; its stub knows those of models only.
            helper: Any = AdminForm
            return helper(form, fieldsets, {}, model_admin=model_admin)

        sets = [("Or files from your computer", {"fields": uploads})] if uploads else []
        return {
            "choice": self.choice,
            "others": [
                Choice(self.choice.adapter, self.choice.operation, model)
                for model in self.choice.adapter.operations[self.choice.operation].models
            ],
            "params_form": drawn(self.params, ("Parameters", {"fields": list(self.params.fields)})),
            "upload_form": drawn(self.uploads, *sets),
            "job_form": drawn(self.job, ("Whose and when", {"fields": first}), ("More", more)),
            "errors": bool(self.job.errors or self.params.errors),
            "general_errors": [*self.job.non_field_errors(), *self.params.non_field_errors()],
            "media": model_admin.media + self.job.media + self.params.media,
            "hint": _account_hint(self.choice.adapter),
        }

    def _add_error(self, field: str, text: str) -> None:
        """Put a refusal of the service on its field."""
        form, _, name = field.partition(".")
        if form == "params":
            name = name.partition(".")[0]
            self.params.add_error(name if name in self.params.fields else None, text)
        elif field in self.job.fields:
            self.job.add_error(field, text)
        else:
            self.job.add_error(None, f"{field}: {text}")


def chosen(query: Mapping[str, str]) -> Choice | None:
    """Return the choice that the page's address names; None if there is no such one."""
    adapter = all_adapters().get(query.get("provider", ""))
    operation = adapter.operations.get(query.get("operation", "")) if adapter else None
    if adapter is None or operation is None:
        return None
    model = query.get("model") or operation.default_model
    return Choice(adapter, operation.name, model) if model in operation.models else None


def choice_of(job: Job) -> Choice | None:
    """Return what the job asked for, if it is still offered."""
    query = {"provider": job.provider_id, "operation": job.operation_type}
    return chosen({**query, "model": job.model or ""})


def all_choices() -> list[dict[str, Any]]:
    """Return every provider with its operations, for the page on which one is chosen."""
    return [
        {
            "adapter": adapter,
            "hint": _account_hint(adapter),
            "operations": [
                {
                    "label": OperationType(name).label,
                    "models": [
                        Choice(adapter, name, model)
                        for model in operation.models
                        if not model_dates.refusal(adapter, model)
                    ],
                }
                for name, operation in adapter.operations.items()
            ],
        }
        for adapter in all_adapters().values()
    ]


def like_of(request: HttpRequest) -> Job | None:
    """Return the job whose values the form begins with, if the user may see it."""
    if not admin.site.get_model_admin(Job).has_view_permission(request):
        return None
    jobs = JobQuerySet(Job).visible_to(request.user).select_related("owner")
    try:
        return jobs.filter(pk=request.GET.get("like")).first()
    except ValueError:
        return None


def _account_hint(adapter: Adapter) -> str:
    """Return what a job of this provider lacks before it can run; empty if nothing."""
    if adapter.credential is None:
        return ""
    accounts = ProviderAccount.objects.filter(provider_id=adapter.name)
    statuses = set(accounts.values_list("status", flat=True))
    if not statuses:
        return "It has no account yet: jobs wait until one is added."
    if statuses <= {AccountStatus.DISABLED, AccountStatus.ERROR}:
        return "None of its accounts takes work now: jobs wait until one does."
    return ""


def _values_of(like: Job) -> dict[str, Any]:
    values = forms.model_to_dict(like, ["owner", "name", "priority", "workspace"])
    if like.owner_id is None:
        del values["owner"]  # the system's, or what the form begins with
    return values | {"parent": like.parent_job_id}
