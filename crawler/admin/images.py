"""Images and candidates in the admin: to look at, and to unmark what is no near duplicate."""

import io
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from PIL import Image as Picture
from PIL import ImageOps

from accounts import activity
from accounts.admin import RecordAdmin, actor_of
from crawler.models import Candidate, Image
from pixsim.core import blobs
from pixsim.core.admin.display import age, badge, shortened
from pixsim.core.admin.paging import KeysetAdmin
from pixsim.core.formats import format_size

SIDES = {"small": 160, "large": 640}
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MAX_PIXELS = 24_000_000
"""A picture that is larger even after a JPEG's own scaling is not decoded for a page."""

NO_PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="160" height="120" viewBox="0 0 160 120">'
    '<rect width="160" height="120" fill="#8883"/><path d="M50 40l60 40M110 40l-60 40"'
    ' stroke="#888" stroke-width="3"/></svg>'
)


class NearDuplicateFilter(admin.SimpleListFilter):
    title = "near duplicates"
    parameter_name = "near"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "marked ones"), ("no", "the dataset")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(near_duplicate_of__isnull=self.value() == "no")


@admin.register(Image)
class ImageAdmin(KeysetAdmin, RecordAdmin):
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
    list_filter = [NearDuplicateFilter]
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
        "original_url",
        "provenance",
        "size",
        "sha256",
        "phash",
        "resembles",
        "storage_url",
        "retrieved_at",
    ]
    readonly_fields = list(map(str, fields))

    # Columns

    @admin.display(description="picture")
    def thumbnail(self, image: Image) -> SafeString:
        return picture_tag(image)

    @admin.display(description="picture")
    def preview(self, image: Image) -> SafeString:
        return picture_tag(image, "large")

    @admin.display(description="file")
    def file(self, image: Image) -> SafeString | str:
        return shortened(image.filename, 16)

    @admin.display(description="crawl job")
    def crawl_job(self, image: Image) -> SafeString:
        url = reverse("admin:crawler_crawljob_change", args=[image.crawl_job_id])
        return format_html('<a href="{}">{}</a>', url, image.crawl_job)

    @admin.display(description="size")
    def size(self, image: Image) -> str:
        size = "" if image.file_size is None else format_size(image.file_size)
        return f"{image.width or '?'} × {image.height or '?'} {image.format or ''} {size}"

    @admin.display(description="resembles")
    def resembles(self, image: Image) -> SafeString | str:
        if image.near_duplicate_of is None:
            return ""
        other = image.near_duplicate_of
        url = reverse("admin:crawler_image_change", args=[other.pk])
        return format_html('<a href="{}">{} #{}</a>', url, picture_tag(other), other.pk)

    @admin.display(description="from")
    def origin(self, image: Image) -> SafeString | str:
        return shortened(image.original_url, 60)

    @admin.display(description="age")
    def retrieved(self, image: Image) -> SafeString | str:
        return age(image.retrieved_at)

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
        ids = list(queryset.values_list("pk", flat=True))
        marked = Image.objects.filter(pk__in=ids, near_duplicate_of__isnull=False)
        changed = marked.update(near_duplicate_of=None)
        if changed:
            activity.record(
                actor=actor_of(request),
                action="images.unmarked_near_duplicate",
                resource_type="image",
                images=ids[:100],
                changed=changed,
            )
        self.message_user(request, f"{changed} no longer marked.", messages.SUCCESS)

    # Pictures

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
        """Return a stored picture made small. Untrusted bytes are never sent on as they are."""
        if size not in SIDES or not self.has_view_permission(request):
            raise PermissionDenied
        image = get_object_or_404(Image, pk=image_id)
        tag = f'"{image.sha256}-{size}"'
        if request.headers.get("If-None-Match") == tag:
            return HttpResponseNotModified()
        data = small_picture(image.storage_url, side=SIDES[size])
        if data is None:
            return HttpResponse(NO_PICTURE, content_type="image/svg+xml", status=404)
        return HttpResponse(
            data,
            content_type="image/jpeg",
            headers={"Cache-Control": "private, max-age=604800, immutable", "ETag": tag},
        )


@admin.register(Candidate)
class CandidateAdmin(KeysetAdmin, RecordAdmin):
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
    list_filter = ["outcome"]
    list_select_related = ["job"]
    search_fields = ["job_id"]
    search_number = "job_id"
    search_help_text = "A crawl job's number."
    exclude = ["url_key"]

    @admin.display(description="address")
    def address(self, candidate: Candidate) -> SafeString | str:
        return shortened(candidate.url, 90)

    @admin.display(description="crawl job")
    def crawl_job(self, candidate: Candidate) -> SafeString:
        url = reverse("admin:crawler_crawljob_change", args=[candidate.job_id])
        return format_html('<a href="{}">{}</a>', url, candidate.job)

    @admin.display(description="outcome")
    def result(self, candidate: Candidate) -> SafeString:
        if candidate.outcome is None:
            return badge("in flight" if candidate.chunk_id else "open", "quiet")
        return badge(candidate.outcome, "good" if candidate.outcome == "stored" else "off")

    @admin.display(description="detail")
    def detail_text(self, candidate: Candidate) -> SafeString | str:
        return shortened(candidate.detail)

    @admin.display(description="age")
    def age(self, candidate: Candidate) -> SafeString | str:
        return age(candidate.created_at)


def picture_tag(image: Image, size: str = "small") -> SafeString:
    return format_html(
        '<img class="px-thumb px-thumb-{}" src="{}" alt="" loading="lazy">',
        size,
        reverse("admin:crawler_image_picture", args=[image.pk, size]),
    )


def small_picture(key: str | None, *, side: int) -> bytes | None:
    """Return a stored picture as a JPEG of at most `side` pixels, or None if it cannot be shown."""
    if not key or not blobs.is_key(key):
        return None
    try:
        with blobs.open_blob(key) as blob, Picture.open(blob, formats=FORMATS) as picture:
            picture.draft("RGB", (side, side))
            if picture.width * picture.height > MAX_PIXELS:
                return None
            turned = ImageOps.exif_transpose(picture).convert("RGBA")
            turned.thumbnail((side, side))
            # What is transparent is shown on grey, which goes with light and dark pages.
            page = Picture.new("RGB", turned.size, (128, 128, 128))
            page.paste(turned, mask=turned.getchannel("A"))
    except (OSError, ValueError, SyntaxError, Picture.DecompressionBombError):
        return None
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
