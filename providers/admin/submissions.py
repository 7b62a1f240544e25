"""Submissions in the admin: what was sent and the answer, read only, with secrets masked."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin import RecordAdmin
from pixsim.core.admin.display import age, badge, shortened, tone_of, until
from pixsim.core.admin.links import linked, page_url, row_url
from pixsim.core.admin.lists import column
from pixsim.core.admin.owned import OwnedAdmin
from pixsim.core.admin.paging import KeysetAdmin
from pixsim.core.formats import format_duration
from providers import masking
from providers.admin.filters import ProviderFilter
from providers.models import LIVE, ProviderSubmission


def _operation(row: ProviderSubmission) -> str:
    parts = [row.operation_type, row.model]
    return ", ".join(part.replace("_", " ") for part in parts if part)


def _took(row: ProviderSubmission) -> str:
    if row.duration_ms is None:
        return "under way" if row.reference and row.status in LIVE else "-"
    return format_duration(row.duration_ms / 1000)


def _error(row: ProviderSubmission) -> SafeString | str:
    if not row.error_class and not row.error_message:
        return "-"
    text = masking.masked(row.error_message or "", masking.secrets_of(row.account))
    return format_html(
        '{} <span title="{}">{}</span>',
        badge(row.error_class, "off") if row.error_class else "",
        text,
        shortened(text, 120),
    )


def _account(row: ProviderSubmission) -> tuple[str, str]:
    """Return the account in words, and its page: an account of others has none, and no name."""
    page = row_url(row.account)
    return str(row.account) if page else f"account {row.account_id}", page


def _previous(row: ProviderSubmission) -> SafeString | str:
    before = row.previous_submission_id
    if before is None:
        return "-"
    page = page_url("providers_providersubmission_change", before)
    return linked(f"submission {before}", page)


def _next_look(row: ProviderSubmission) -> SafeString | str:
    return until(row.next_poll_at) if row.next_poll_at else "nothing is left to do"


def _shown(submission: ProviderSubmission, value: Any) -> SafeString | str:
    return "-" if value is None else masking.shown(value, submission.account)


def _exact(moment: datetime | None) -> str:
    if moment is None:
        return "-"
    moment = timezone.localtime(moment)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03} {moment:%Z}"


@admin.register(ProviderSubmission)
class ProviderSubmissionAdmin(OwnedAdmin, KeysetAdmin, RecordAdmin):
    list_display = [
        "id", "sent", "job_link", "retry_attempt", "operation", "account_link", "state", "took",
        "error", "provider_job_id",
    ]  # fmt: skip
    list_filter = ["status", "account_source", ProviderFilter]
    list_select_related = ["account"]
    search_fields = ["provider_job_id", "job_id"]
    search_number = "job_id"
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

    sent = column("sent", lambda row: age(row.submitted_at))
    job_link = column(
        "job", lambda row: linked(f"job {row.job_id}", page_url("jobs_job_change", row.job_id))
    )
    operation = column("operation", _operation)
    account_link = column("account", lambda row: linked(*_account(row)))
    state = column("status", lambda row: badge(row.get_status_display(), tone_of(row.status)))
    took = column("took", _took)
    error = column("error", _error)
    previous = column("previous attempt", _previous)
    next_look = column("processed next", _next_look)
    sent_at = column("sent at", lambda row: _exact(row.submitted_at))
    accepted = column("accepted at", lambda row: _exact(row.accepted_at))
    answered = column("answered at", lambda row: _exact(row.responded_at))
    deadline = column("given up after", lambda row: _exact(row.deadline_at))
    payload_text = column("payload", lambda row: _shown(row, row.payload))
    response_text = column("response", lambda row: _shown(row, row.response))
    outputs_text = column("files", lambda row: _shown(row, row.outputs))
