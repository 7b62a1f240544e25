"""Submissions in the admin: what was sent and the answer, read only, with secrets masked."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin import RecordAdmin
from pixsim.core.admin.display import age, badge, shortened, tone_of, until
from pixsim.core.admin.paging import KeysetAdmin
from pixsim.core.formats import format_duration
from providers import masking
from providers.admin.filters import ProviderFilter
from providers.models import ProviderSubmission
from providers.models.submissions import LIVE


@admin.register(ProviderSubmission)
class ProviderSubmissionAdmin(KeysetAdmin, RecordAdmin):
    list_display = [
        "id", "sent", "job_link", "retry_attempt", "operation", "account_link", "state", "took",
        "error", "provider_job_id",
    ]  # fmt: skip
    list_filter = ["status", "account_source", ProviderFilter]
    list_select_related = ["account"]
    search_fields = ["provider_job_id__exact"]
    search_help_text = "A job's number, or the provider's own id of it."
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "state", "job_link", "retry_attempt", "previous", "operation", "account_link",
                    "account_source", "choice", "error",
                ]
            },
        ),
        (
            "Progress",
            {
                "fields": [
                    "sent_at", "accepted", "answered", "took", "progress", "polls", "next_look",
                    "deadline",
                ]
            },
        ),
        ("What was sent", {"fields": ["reference", "payload_text"]}),
        ("What came back", {"fields": ["provider_job_id", "response_text", "outputs_text"]}),
    ]  # fmt: skip
    readonly_fields = [
        "state", "job_link", "previous", "operation", "account_link", "error", "sent_at",
        "accepted", "answered", "deadline", "took", "next_look", "payload_text", "response_text",
        "outputs_text",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderSubmission]:
        # An answer may contain whole pictures: read them only where they are shown.
        return super().get_queryset(request).defer("payload", "response", "outputs")

    # Columns and fields

    @admin.display(description="sent")
    def sent(self, submission: ProviderSubmission) -> SafeString | str:
        return age(submission.submitted_at)

    @admin.display(description="job")
    def job_link(self, submission: ProviderSubmission) -> SafeString | str:
        return _link("admin:jobs_job_change", submission.job_id, f"job {submission.job_id}")

    @admin.display(description="operation")
    def operation(self, submission: ProviderSubmission) -> str:
        parts = [submission.operation_type, submission.model]
        return ", ".join(part.replace("_", " ") if part else "" for part in parts if part)

    @admin.display(description="account")
    def account_link(self, submission: ProviderSubmission) -> SafeString | str:
        return _link(
            "admin:providers_provideraccount_change",
            submission.account_id,
            str(submission.account),
        )

    @admin.display(description="status")
    def state(self, submission: ProviderSubmission) -> SafeString:
        return badge(submission.get_status_display(), tone_of(submission.status))

    @admin.display(description="took")
    def took(self, submission: ProviderSubmission) -> str:
        if submission.duration_ms is None:
            return "under way" if submission.reference and submission.status in LIVE else "-"
        return format_duration(submission.duration_ms / 1000)

    @admin.display(description="error")
    def error(self, submission: ProviderSubmission) -> SafeString | str:
        if not submission.error_class and not submission.error_message:
            return "-"
        secrets = masking.secrets_of(submission.account)
        text = masking.masked(submission.error_message or "", secrets)
        return format_html(
            '{} <span title="{}">{}</span>',
            badge(submission.error_class, "off") if submission.error_class else "",
            text,
            shortened(text, 120),
        )

    @admin.display(description="previous attempt")
    def previous(self, submission: ProviderSubmission) -> SafeString | str:
        before = submission.previous_submission_id
        return _link("admin:providers_providersubmission_change", before, f"submission {before}")

    @admin.display(description="processed next")
    def next_look(self, submission: ProviderSubmission) -> SafeString | str:
        return (
            until(submission.next_poll_at) if submission.next_poll_at else "nothing is left to do"
        )

    @admin.display(description="sent at")
    def sent_at(self, submission: ProviderSubmission) -> str:
        return _exact(submission.submitted_at)

    @admin.display(description="accepted at")
    def accepted(self, submission: ProviderSubmission) -> str:
        return _exact(submission.accepted_at)

    @admin.display(description="answered at")
    def answered(self, submission: ProviderSubmission) -> str:
        return _exact(submission.responded_at)

    @admin.display(description="given up after")
    def deadline(self, submission: ProviderSubmission) -> str:
        return _exact(submission.deadline_at)

    @admin.display(description="payload")
    def payload_text(self, submission: ProviderSubmission) -> SafeString | str:
        return _shown(submission, submission.payload)

    @admin.display(description="response")
    def response_text(self, submission: ProviderSubmission) -> SafeString | str:
        return _shown(submission, submission.response)

    @admin.display(description="files")
    def outputs_text(self, submission: ProviderSubmission) -> SafeString | str:
        return _shown(submission, submission.outputs)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ProviderSubmission], search_term: str
    ) -> tuple[QuerySet[ProviderSubmission], bool]:
        term = search_term.strip()
        found = Q(provider_job_id=term)
        if term.isdecimal():
            found |= Q(job_id=int(term))
        return (queryset.filter(found) if term else queryset), False


def _shown(submission: ProviderSubmission, value: Any) -> SafeString | str:
    return "-" if value is None else masking.shown(value, submission.account)


def _exact(moment: datetime | None) -> str:
    if moment is None:
        return "-"
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def _link(view: str, key: int | None, text: str) -> SafeString | str:
    """Return a link to a page of the admin; plain text where there is no such page."""
    if key is None:
        return "-"
    try:
        return format_html('<a href="{}">{}</a>', reverse(view, args=[key]), text)
    except NoReverseMatch:
        return text
