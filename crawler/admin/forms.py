"""The forms of projects, crawl jobs, sources and chunks."""

from dataclasses import fields
from typing import Any

from django import forms
from django.forms.models import BaseInlineFormSet
from django.utils.functional import lazy

from accounts.errors import AccountsError
from crawler import sources
from crawler.errors import CrawlError, FieldRefused
from crawler.fetch.rules import Rules
from crawler.labels import MAX_LABEL, LabelTooLong, check_label
from crawler.models import CrawlJob, CrawlSource, JobChunk, Project
from crawler.services import accepting, projects
from jobs.queue.items import RETRY_COUNT_HELP, Status
from pixsim.core.admin.forms import ServiceForm
from pixsim.core.forms import JsonField
from pixsim.core.priority import MAX_PRIORITY, MIN_PRIORITY, PRIORITY_HELP
from pixsim.core.redaction import redact

# The form's field for each limit of a tier.
LIMIT_FIELDS = {"images_per_job": "max_images", "highest_priority": "priority"}
REFUSALS = (CrawlError, AccountsError)
"""What services refuse."""
MAX_LABELS = 1000


OF_ITS_OWNER = "The job belongs to the project's owner, whose limits count."
DEFAULT_PROJECT = f'project "{projects.DEFAULT_PROJECT}"'


class LabelsField(forms.CharField):
    """Class labels separated by commas or lines, as a list."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        labels = [" ".join(part.split()) for part in text.replace("\n", ",").split(",")]
        labels = list(dict.fromkeys(label for label in labels if label))
        for label in labels:
            try:
                check_label(label)
            except LabelTooLong as error:
                raise forms.ValidationError(f"{label:.40}…: {error}.") from None
        if len(labels) > MAX_LABELS:
            raise forms.ValidationError(f"There may be at most {MAX_LABELS} labels.")
        return labels


class OptionsField(JsonField):
    """A JSON object; empty means `{}`."""

    def __init__(self, *, rows: int = 1, cols: int = 22, **options: Any) -> None:
        area = forms.Textarea(attrs={"rows": rows, "cols": cols, "spellcheck": "false"})
        super().__init__(**{"initial": dict, "required": False, "widget": area, **options})

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(initial or {}, data or "{}")

    def to_python(self, value: Any) -> Any:
        options = super().to_python(value)
        if options in self.empty_values:
            return {}
        if not isinstance(options, dict):
            raise forms.ValidationError('Must be a JSON object, as {"name": value}.')
        return options


class LimitedForm(ServiceForm):
    """A form whose values the limits of an owner's tier may refuse."""

    owner_field = "owner"
    """Where a refusal stands that belongs to the owner."""

    def place_of(self, refusal: Exception) -> tuple[str | None, str]:
        if isinstance(refusal, FieldRefused):
            name = self.owner_field if refusal.field == "owner" else refusal.field
            return name, refusal.message
        if isinstance(refusal, AccountsError):
            return LIMIT_FIELDS.get(refusal.subject, self.owner_field), str(refusal)
        return super().place_of(refusal)


class ProjectForm(LimitedForm):
    class Meta:
        model = Project
        fields = ["name", "owner", "description"]


class CrawlJobForm(LimitedForm):
    """Values of a crawl job; `services.create_crawl_job` and `services.change_job` check them."""

    owner_field = "project"
    project_help = f"{OF_ITS_OWNER} Empty: to the system, without limits, in {DEFAULT_PROJECT}."
    keywords = LabelsField(
        required=False,
        widget=forms.TextInput(attrs={"size": 80}),
        help_text="Class labels, separated by commas. A single one is given to sources without a "
        "label of their own.",
    )
    priority = forms.IntegerField(
        required=False,
        min_value=MIN_PRIORITY,
        max_value=MAX_PRIORITY,
        help_text=f"{PRIORITY_HELP} Empty: what the owner's tier has.",
    )
    chunk_size = forms.IntegerField(
        required=False, min_value=1, help_text="Images per chunk. Empty: by the number of images."
    )
    options = OptionsField(
        rows=2,
        cols=80,
        help_text="Limits and checks as a JSON object; empty means the defaults. "
        f"There are {', '.join(field.name for field in fields(Rules))}. "
        'Example: {"min_side": 256, "formats": ["jpeg", "png"]}.',
    )

    class Meta:
        model = CrawlJob
        fields = ["name", "project", "keywords", "max_images", "priority", "chunk_size", "options"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None and "project" in self.fields:
            self.fields["project"].required = False
            self.fields["project"].help_text = self.project_help
            self.fields["max_images"].initial = 100
            self.fields["max_images"].help_text = "How many distinct images to collect."
        elif "priority" in self.fields:
            self.fields["priority"].required = True


def _kinds() -> list[tuple[str, str]]:
    titles = [(each.kind, each.title) for each in sources.all_sources().values()]
    return [("", "as the location looks"), *titles]


def _places_help() -> str:
    return f"One of: {'; '.join(each.place for each in sources.all_sources().values())}."


def _options_help() -> str:
    return " ".join(['A JSON object, as {"name": value}.', *sources.described_options()])


class SourceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A source, checked as far as that needs no network; the kinds of sources give its choices."""

    kind = forms.ChoiceField(required=False, choices=_kinds)
    location = forms.CharField(
        widget=forms.TextInput(
            attrs={"size": 54, "placeholder": "https://example.org/sitemap.xml or /data/pictures"}
        )
    )
    label = forms.CharField(
        required=False,
        max_length=MAX_LABEL,
        error_messages={
            "max_length": "A label may have at most %(limit_value)d characters, not %(show_value)d."
        },
        widget=forms.TextInput(attrs={"size": 14}),
        help_text="Class label of what it finds.",
    )
    options = OptionsField()

    class Meta:
        model = CrawlSource
        fields = ["location", "kind", "label", "options"]
        help_texts = {"location": lazy(_places_help, str)(), "options": lazy(_options_help, str)()}

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if "location" not in values:
            return values
        values["kind"] = values.get("kind") or sources.guess_kind(values["location"])
        if self.errors:
            return values
        try:
            sources.checked(values["kind"], values["location"], values["options"], values["label"])
        except FieldRefused as refusal:
            field, _, option = refusal.field.partition(".")
            self.add_error(field, f"{option}: {refusal.message}" if option else refusal.message)
        except CrawlError as refusal:
            self.add_error("location", str(refusal))
        return values


class SourceFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    def _construct_form(self, i: int, **kwargs: Any) -> Any:
        form = super()._construct_form(i, **kwargs)  # type: ignore[misc]
        if form.instance.pk:  # shown, never saved again
            form.instance.location = redact(form.instance.location)
        return form

    def clean(self) -> None:
        super().clean()
        if any(self.errors) or self.instance.pk is not None:
            return
        if not any(form.has_changed() for form in self.forms):
            raise forms.ValidationError("Add at least one source: where the images come from.")

    def specs(self) -> list[accepting.SourceSpec]:
        """Return the sources that were asked for."""
        return [
            accepting.SourceSpec(source.kind, source.location, source.label, source.options)
            for source in self.save(commit=False)
        ]


class ChunkForm(LimitedForm):
    """A chunk that is added or changed by hand."""

    image_range = JsonField(
        widget=forms.TextInput(attrs={"size": 40}),
        help_text='{"start": s, "end": e}: fill the image indices s to e-1 of the job.',
    )
    chunk_index = forms.IntegerField(
        required=False, min_value=0, help_text="Empty: behind the job's last chunk."
    )

    class Meta:
        model = JobChunk
        fields = ["job", "chunk_index", "image_range", "status", "priority", "owner", "held"]
        help_texts = {"retry_count": RETRY_COUNT_HELP}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "status" in self.fields:
            # Only a claim makes a chunk processing, with a lease.
            self.fields["status"].choices = [  # type: ignore[attr-defined]
                (value, label)
                for value, label in Status.choices
                if value in (Status.PENDING, Status.COMPLETED, Status.FAILED, self.instance.status)
            ]
        if self.instance.pk is None and "priority" in self.fields:
            self.fields["priority"].initial = None
            self.fields["priority"].required = False
            self.fields["priority"].help_text += " Empty: as the job."
