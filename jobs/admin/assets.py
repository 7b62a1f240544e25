"""Assets and workspaces in the admin, and the files of assets."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.files.base import File
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotModified,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin import RecordAdmin
from jobs.generation.files import SIGNATURES
from jobs.models import Asset, Job, Workspace
from pixsim.core import blobs
from pixsim.core.admin.display import age
from pixsim.core.admin.links import linked, page_url
from pixsim.core.admin.lists import column
from pixsim.core.admin.owned import OwnedAdmin
from pixsim.core.admin.paging import KeysetAdmin
from pixsim.core.ranges import bytes_of, part_of
from providers.admin import ProviderFilter

SHOWN_BYTES = 32 * 1024 * 1024
"""A page shows the thumbnail of a larger picture."""
SAFE_TYPES = frozenset(signature.mime_type for signature in SIGNATURES)
"""Types that a browser shows without running anything in them. All others are downloaded."""


def thumbnail(asset: Asset) -> SafeString | str:
    """Return the asset's thumbnail as a small picture, or its type."""
    if not asset.thumbnail_url or not blobs.is_key(asset.thumbnail_url):
        return asset.media_type
    return format_html(
        '<img class="px-thumb px-thumb-small" src="{}" alt="asset {}" loading="lazy">',
        file_url(asset, "thumbnail"),
        asset.pk,
    )


def player(asset: Asset) -> SafeString:
    """Return an element that shows or plays the asset, if a page can."""
    kind = asset.mime_type or ""
    if not asset.local_path or not blobs.is_key(asset.local_path):
        return format_html('<span class="px-quiet-text">{}</span>', "Its file is not here.")
    url = file_url(asset, "whole")
    if kind not in SAFE_TYPES:
        why = asset.undecoded or "Its type is not one that a page shows."
        return format_html(
            '<a href="{}">Download</a> <span class="px-quiet-text">{}</span>', url, why
        )
    if kind.startswith("audio/"):
        return format_html('<audio controls preload="metadata" src="{}"></audio>', url)
    if kind.startswith("video/"):
        return format_html('<video controls loop preload="metadata" src="{}"></video>', url)
    too_large = (asset.file_size_bytes or 0) > SHOWN_BYTES and asset.thumbnail_url
    shown = file_url(asset, "thumbnail") if too_large else url
    return format_html('<a href="{}"><img src="{}" alt="{}"></a>', url, shown, asset)


def file_url(asset: Asset, which: str) -> str:
    return reverse("admin:jobs_asset_file", args=[asset.pk, which])


def job_link(number: int | None) -> SafeString | str:
    return "-" if number is None else linked(f"job {number}", page_url("jobs_job_change", number))


@admin.register(Workspace)
class WorkspaceAdmin(OwnedAdmin, RecordAdmin):
    """Nothing here makes workspaces: those of an adopted database are reached from their jobs."""

    list_display = ["id", "name", "user", "is_archived", "is_public", "last_activity_at"]
    list_filter = ["is_archived"]
    search_fields = ["name", "user__username__exact"]
    ordering = ["-id"]

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Keep the table, which is empty but for an adopted database, out of the menu."""
        return {}


@admin.register(Asset)
class AssetAdmin(OwnedAdmin, KeysetAdmin, RecordAdmin):
    list_display = [
        "thumbnail",
        "id",
        "media_type",
        "size",
        "provider_id",
        "user",
        "job",
        "sync_status",
        "made",
    ]
    list_display_links = ["thumbnail", "id"]
    list_filter = ["media_type", "sync_status", "content_domain", ProviderFilter]
    search_fields = ["sha256__exact", "provider_asset_id__exact"]
    search_help_text = "The file's sha256, or the provider's id of it."
    readonly_fields = ["preview"]

    thumbnail = column("picture", thumbnail)
    size = column("size", lambda asset: asset.measures or "-")
    job = column("job", lambda asset: job_link(asset.source_job_id))
    made = column("made", lambda asset: age(asset.created_at))
    preview = column("file", player)

    def get_fields(self, request: HttpRequest, obj: Asset | None = None) -> list[Any]:
        *fields, preview = super().get_fields(request, obj)
        return [preview, *fields]

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("<int:asset_id>/file/<str:which>/", view(self.file), name="jobs_asset_file"),
            *super().get_urls(),
        ]

    def file(self, request: HttpRequest, asset_id: int, which: str) -> HttpResponseBase:
        """Answer with an asset's `whole` file or its `thumbnail`; a browser runs nothing in it."""
        of_jobs = self.admin_site.get_model_admin(Job)  # whoever may see a job sees what it made
        if not (self.has_view_permission(request) or of_jobs.has_view_permission(request)):
            raise PermissionDenied
        if which not in ("whole", "thumbnail"):
            raise Http404
        asset = get_object_or_404(self.get_queryset(request), pk=asset_id)
        key = asset.local_path if which == "whole" else asset.thumbnail_url
        if not key or not blobs.is_key(key):
            raise Http404("The file is not here.")
        tag = f'"{key}"'
        if request.headers.get("If-None-Match") == tag:
            return HttpResponseNotModified()
        try:
            blob = blobs.open_blob(key)
        except FileNotFoundError as error:
            raise Http404("The file is not here.") from error
        kind = "image/jpeg" if which == "thumbnail" else asset.mime_type or ""
        asked = request.headers.get("Range")
        if request.headers.get("If-Range", tag) != tag:
            asked = None
        response = _answer(blob, name=key.rpartition("/")[2], kind=kind, asked=asked)
        response["Accept-Ranges"] = "bytes"
        response["Cache-Control"] = "private, max-age=604800, immutable"
        response["Content-Security-Policy"] = "sandbox; default-src 'none'"
        response["X-Content-Type-Options"] = "nosniff"
        response["ETag"] = tag
        return response


def _answer(blob: File[Any], *, name: str, kind: str, asked: str | None) -> HttpResponseBase:
    """Return the whole file, or the part that a player asks for in a Range header."""
    if kind not in SAFE_TYPES:
        kind = "application/octet-stream"
    part = part_of(asked, size=blob.size)
    if part is None:
        return FileResponse(
            blob, as_attachment=kind not in SAFE_TYPES, filename=name, content_type=kind
        )
    if not part:
        blob.close()
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{blob.size}"})
    about = {
        "Content-Range": f"bytes {part.start}-{part.stop - 1}/{blob.size}",
        "Content-Length": str(len(part)),
    }
    if kind not in SAFE_TYPES:
        about["Content-Disposition"] = f'attachment; filename="{name}"'
    return StreamingHttpResponse(bytes_of(blob, part), status=206, content_type=kind, headers=about)
