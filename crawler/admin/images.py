"""Images and candidates in the admin: to look at, and to unmark what is no near duplicate."""

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import activity
from accounts.admin import RecordAdmin, actor_of
from crawler.models import Candidate, CrawlJob, Image, Outcome
from crawler.public import shown_address
from crawler.thumbnails import SIDES, thumbnail
from pixsim.core.admin.display import age, badge, shortened
from pixsim.core.admin.links import linked, page_url
from pixsim.core.admin.lists import ConditionFilter, column
from pixsim.core.admin.owned import OwnedAdmin
from pixsim.core.admin.paging import KeysetAdmin
from pixsim.core.formats import format_size
from pixsim.core.redaction import redacted

MAX_DIGITS = 10
NO_PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="160" height="120" viewBox="0 0 160 120">'
    '<rect width="160" height="120" fill="#8883"/><path d="M50 40l60 40M110 40l-60 40"'
    ' stroke="#888" stroke-width="3"/></svg>'
)


class NearDuplicateFilter(ConditionFilter):
    title = "near duplicates"
    parameter_name = "near"
    conditions = {
        "yes": ("marked ones", Q(near_duplicate_of__isnull=False)),
        "no": ("the dataset", Q(near_duplicate_of__isnull=True)),
    }


class LabelFilter(admin.SimpleListFilter):
    """A filter by the class labels of the job whose number is searched for."""

    title = "label"
    parameter_name = "label"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        number = request.GET.get("q", "").strip()
        job = None
        if number.isascii() and number.isdecimal() and len(number) < MAX_DIGITS:
            jobs = CrawlJob.objects.visible_to(request.user)
            job = jobs.filter(pk=int(number)).first()
        labels = set(job.sources.values_list("label", flat=True)) if job else set()
        if job and isinstance(job.keywords, list):
            labels.update(map(str, job.keywords))
        return [(label, label) for label in sorted(labels | {self.value() or ""} - {""})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(label=self.value()) if self.value() else queryset


def picture_tag(image: Image, size: str = "small") -> SafeString:
    return format_html(
        '<img class="px-thumb px-thumb-{}" src="{}" alt="picture {}" loading="lazy">',
        size,
        reverse("admin:crawler_image_picture", args=[image.pk, size]),
        image.pk,
    )


def _resembles(image: Image) -> SafeString | str:
    if image.near_duplicate_of is None:
        return ""
    other = image.near_duplicate_of
    words = format_html("{} #{}", picture_tag(other), other.pk)
    return linked(words, page_url("crawler_image_change", other.pk))


def _provenance(row: Image | Candidate) -> str:
    return json.dumps(redacted(row.provenance), ensure_ascii=False) if row.provenance else "-"


def _size(image: Image) -> str:
    size = "" if image.file_size is None else format_size(image.file_size)
    return f"{image.width or '?'} × {image.height or '?'} {image.format or ''} {size}"


def _original(image: Image) -> SafeString | str:
    """Return a link to the picture at its server; a browser opens no other kind of address."""
    address = shown_address(image.original_url, image.provenance)
    if not address.startswith(("http://", "https://")):
        return address
    return format_html('<a href="{0}" target="_blank" rel="noopener noreferrer">{0}</a>', address)


def _link(job: CrawlJob) -> SafeString | str:
    return linked(job, page_url("crawler_crawljob_change", job.pk))


@admin.register(Image)
class ImageAdmin(OwnedAdmin, KeysetAdmin, RecordAdmin):
    actions = ["unmark"]
    list_display = [
        "thumbnail",
        "file",
        "crawl_job",
        "image_index",
        "label",
        "size",
        "resembles",
        "origin",
        "retrieved",
    ]
    list_display_links = ["thumbnail", "file"]
    change_form_template = "admin/crawler/image/change_form.html"
    list_filter = [NearDuplicateFilter, LabelFilter]
    link_lookups = ["chunk__id__exact"]
    list_select_related = ["crawl_job", "near_duplicate_of"]
    list_per_page = 50
    search_fields = ["sha256", "crawl_job_id"]
    search_number = "crawl_job_id"
    search_help_text = "A file's sha256, or a crawl job's number."
    fields = [
        "preview",
        "crawl_job",
        "image_index",
        "label",
        "original",
        "provenance_text",
        "size",
        "sha256",
        "phash",
        "resembles",
        "storage_url",
        "retrieved_at",
    ]
    readonly_fields = list(map(str, fields))

    # Columns

    thumbnail = column("picture", picture_tag)
    preview = column("picture", lambda image: picture_tag(image, "large"))
    file = column("file", lambda image: shortened(image.filename, 16))
    crawl_job = column("crawl job", lambda image: _link(image.crawl_job))
    size = column("size", _size)
    original = column("original", _original)
    resembles = column("resembles", _resembles)
    origin = column(
        "from", lambda image: shortened(shown_address(image.original_url, image.provenance), 60)
    )
    provenance_text = column("provenance", _provenance)
    retrieved = column("age", lambda image: age(image.retrieved_at))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Image], search_term: str
    ) -> tuple[QuerySet[Image], bool]:
        return super().get_search_results(request, queryset, search_term.lower())

    def has_change_permission(self, request: HttpRequest, obj: Image | None = None) -> bool:
        # The form has nothing to change; the action has.
        return obj is None and request.user.has_perm("crawler.change_image")

    # Actions

    @admin.action(description="Not a near duplicate: take into the dataset", permissions=["change"])
    def unmark(self, request: HttpRequest, queryset: QuerySet[Image]) -> None:
        is_marked = queryset.filter(near_duplicate_of__isnull=False)
        ids = list(is_marked.values_list("pk", flat=True))
        marked = Image.objects.filter(pk__in=ids, near_duplicate_of__isnull=False)
        changed = marked.update(near_duplicate_of=None)
        if changed:
            activity.record(
                actor=actor_of(request),
                action="images.unmarked_near_duplicate",
                resource_type="image",
                resource_ids=ids,
                images=ids[:100],
                changed=changed,
            )
        self.message_user(request, f"{changed} no longer marked.", messages.SUCCESS)

    # Pictures

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        image = self.get_object(request, object_id)
        extra = self._beside(request, image) if image else {}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def _beside(self, request: HttpRequest, image: Image) -> dict[str, str]:
        """Return the addresses of the pictures before and after one in the list of its job."""
        others = self.get_queryset(request).filter(crawl_job=image.crawl_job_id)
        keys = {
            "previous_url": others.filter(pk__gt=image.pk).order_by("pk"),
            "next_url": others.filter(pk__lt=image.pk).order_by("-pk"),
        }
        found = {name: rows.values_list("pk", flat=True).first() for name, rows in keys.items()}
        return {name: page_url("crawler_image_change", pk) for name, pk in found.items() if pk}

    def get_urls(self) -> list[Any]:
        return [
            path(
                "<int:image_id>/picture/<str:size>/",
                self.admin_site.admin_view(self.picture),
                name="crawler_image_picture",
            ),
            *super().get_urls(),
        ]

    def picture(self, request: HttpRequest, image_id: int, size: str) -> HttpResponse:
        """Return a stored picture made small. Untrusted bytes are never sent on as they are.

        Whoever may see a crawl job sees its pictures.
        """
        of_jobs = self.admin_site.get_model_admin(CrawlJob)
        if not (self.has_view_permission(request) or of_jobs.has_view_permission(request)):
            raise PermissionDenied
        if size not in SIDES:
            raise Http404
        image = get_object_or_404(self.get_queryset(request), pk=image_id)
        tag = f'"{image.sha256}-{size}"'
        if request.headers.get("If-None-Match") == tag:
            return HttpResponseNotModified()
        jpeg = thumbnail(image.storage_url, size=size)
        if jpeg is None:
            return HttpResponse(NO_PICTURE, content_type="image/svg+xml", status=404)
        about = {
            "Cache-Control": "private, max-age=604800, immutable",
            "ETag": tag,
            "X-Content-Type-Options": "nosniff",
        }
        return HttpResponse(jpeg, content_type="image/jpeg", headers=about)


def _result(candidate: Candidate) -> SafeString:
    if candidate.outcome is None:
        return badge("in flight" if candidate.chunk_id else "open", "quiet")
    return badge(candidate.outcome, "good" if candidate.outcome == "stored" else "off")


class OutcomeFilter(ConditionFilter):
    """A filter by outcome, each named as pages, exports and commands name it."""

    title = "outcome"
    parameter_name = "outcome"
    conditions = {
        "none": ("open or in flight", Q(outcome=None)),
        **{name: (name, Q(outcome=name)) for name in Outcome.values},
    }


@admin.register(Candidate)
class CandidateAdmin(OwnedAdmin, KeysetAdmin, RecordAdmin):
    list_display = [
        "address",
        "crawl_job",
        "result",
        "detail_text",
        "host",
        "label",
        "tries",
        "age",
    ]
    list_filter = [OutcomeFilter, LabelFilter]
    link_lookups = ["chunk__id__exact"]
    list_select_related = ["job"]
    search_fields = ["job_id"]
    search_number = "job_id"
    search_help_text = "A crawl job's number."
    exclude = ["url_key", "url", "provenance", "outcome"]
    readonly_fields = ["result", "whole_address", "provenance_text"]

    whole_address = column("address", lambda candidate: str(candidate))
    provenance_text = column("provenance", _provenance)

    address = column("address", lambda candidate: shortened(str(candidate), 90))
    crawl_job = column("crawl job", lambda candidate: _link(candidate.job))
    result = column("outcome", _result)
    detail_text = column("detail", lambda candidate: shortened(candidate.detail))
    age = column("age", lambda candidate: age(candidate.created_at))
