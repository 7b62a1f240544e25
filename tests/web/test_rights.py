"""Staff with few rights: what a page shows can be opened, and is theirs."""

import logging
import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import credits, usage
from accounts.models import Profile
from accounts.services import change_tier
from crawler.models import Candidate, CrawlJob, CrawlSource, Image, JobChunk, Project
from jobs.models import Asset, Job, QueuePause, WorkAttempt, Worker, Workspace
from jobs.services import system_user
from pixsim.core import blobs
from providers.models import ProviderAccount, ProviderSubmission
from tests.admin_forms import sent
from tests.crawler.pictures import jpeg

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]
RIGHTS = ("system_work", "others_work")
FEW = (
    "view_crawljob", "add_crawljob", "change_crawljob", "change_jobchunk", "add_jobchunk", "view_job",
    "add_job", "change_job", "change_provideraccount", "view_providersubmission", "view_workattempt",
    "view_profile", "add_queuepause", "add_project",
)  # fmt: skip
SKIPPED = re.compile(
    r"/(logout|jsi18n|password_change|static)/|^(#|/$|data:|mailto:)|_to_field|_popup|_facets|[?&;]o="
)
CARRIED = re.compile(r"[?&]_changelist_filters=[^&]*")
A_LINK = re.compile(r'<(?:a|img|audio|video)\b[^>]*?\b(?:href|src)="([^"]+)"')
A_BUTTON = re.compile(r'<form[^>]*action="([^"]*/act/[^"]*)"')


@pytest.fixture(autouse=True)
def _blobs(settings: Any, tmp_path: Any) -> None:
    backend = {
        "BACKEND": "pixsim.core.blobs.local.BlobStorage",
        "OPTIONS": {"location": str(tmp_path / "blobs")},
    }
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}


def make_rows(mark: str, owner: Profile | None) -> dict[type, Any]:
    """One row of each table that an owner has; a page that shows one has `mark` in it."""
    user = owner.user if owner else system_user()
    made: list[Any] = []

    def make(model: Any, **values: Any) -> Any:
        made.append(model.objects.create(**values))
        return made[-1]

    picture = jpeg(64, 48)
    key = blobs.put(picture, suffix=".jpg")
    project = make(Project, name=f"{mark} project", owner=owner)
    crawl = make(
        CrawlJob, project=project, name=f"{mark} crawl", max_images=10, status="completed",
        outcomes={"stored": 1},
    )  # fmt: skip
    CrawlSource.objects.create(job=crawl, kind="urls", location=f"http://{mark}.example/list.txt")
    chunk = make(
        JobChunk, job=crawl, chunk_index=0, image_range={"start": 0, "end": 10}, owner=owner,
        status="failed", error_message=f"{mark} error",
    )  # fmt: skip
    make(Candidate, job=crawl, url=f"http://{mark}/", url_key=mark.encode().ljust(32), host="h")
    make(
        Image, crawl_job=crawl, chunk=chunk, original_url=f"http://{mark}/a.jpg", filename="f",
        storage_url=key, sha256=key.rpartition("/")[2].partition(".")[0], label=mark,
    )  # fmt: skip
    make(Workspace, user=user, name=f"{mark} workspace")
    account = make(ProviderAccount, provider_id="local", email=f"{mark}@x.org", user=owner and user)
    job = make(
        Job, user=user, owner=owner, operation_type="text_to_image", provider_id="local",
        name=f"{mark} job", params={"prompt": f"{mark} prompt"}, status="failed",
    )  # fmt: skip
    asset = make(
        Asset, user=user, media_type="image", mime_type="image/jpeg", provider_id="local",
        provider_asset_id=mark, remote_url="http://x", source_job=job, description=mark,
        local_path=key, thumbnail_url=key,
    )  # fmt: skip
    Job.objects.filter(pk=job.pk).update(asset=asset)
    make(ProviderSubmission, job=job, account=account, provider_id="local", provider_job_id=mark)
    for kind, item in (("chunk", chunk), ("generation", job)):
        make(
            WorkAttempt, kind=kind, item_id=item.pk, number=1, outcome="failed",
            started_at=timezone.now(), ended_at=timezone.now(), error_message=f"{mark} attempt",
        )  # fmt: skip
    if owner:
        Profile.objects.filter(pk=owner.pk).update(full_name=f"{mark} person")
        credits.grant(profile=owner, amount=10, description=f"{mark} gift", reference=mark)
        usage.add_all([usage.Usage(owner.pk, timezone.now().date(), images_processed=1)])
        change_tier(profile=owner, tier="PRO", actor=owner)
        make(QueuePause, scope="owner", key=str(owner.pk), reason=f"{mark} pause")
        made += [owner, owner.credit_accounts.get(), owner.credit_transactions.get()]
    return {type(row): row for row in made}


@pytest.fixture
def staff() -> User:
    return User.objects.create_user("sam", "sam@x.org", is_staff=True)


@pytest.fixture
def world(staff: User) -> dict[str, dict[type, Any]]:
    """Rows of the member of staff, of another person and of the system."""
    other = User.objects.create_user("other", "other@x.org")
    Worker.objects.create(name="w@h", host="h", pid=1, processes=1, version="1")
    return {
        "MINE": make_rows("MINE", staff.profile),
        "THEIRS": make_rows("THEIRS", other.profile),
        "SYSTEMS": make_rows("SYSTEMS", None),
    }


def allow(user: User, *codenames: str) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))


def page_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def everything_shown(client: Client, start: str = "/admin/") -> Iterator[tuple[str, Any]]:
    """Every page and picture that can be reached from a page by links, and its answer."""
    known, todo = {start}, [start]
    while todo:
        url = todo.pop()
        answer = client.get(url, follow=True)
        yield url, answer
        if not answer.get("Content-Type", "").startswith("text/html"):
            continue
        for found in A_LINK.findall(answer.content.decode()):
            link = CARRIED.sub("", urljoin(url, unescape(found)).partition("#")[0])
            is_combined = link.count("&") and "/add/" not in link
            if urlsplit(link).netloc or SKIPPED.search(found) or is_combined or link in known:
                continue
            known.add(link)
            todo.append(link)


def faults(client: Client, hidden: tuple[str, ...]) -> list[str]:
    """What is wrong with what is shown: a dead link, a broken picture, somebody else's row."""
    wrong, buttons = [], set()
    for count, (url, answer) in enumerate(everything_shown(client)):
        assert count < 3000
        body = b"".join(answer) if answer.streaming else answer.content
        if answer.status_code != 200:
            wrong.append(f"{answer.status_code} {url}")
        wrong += [f"{mark} in {url}" for mark in hidden if mark.encode() in body]
        if answer.get("Content-Type", "").startswith("text/html"):
            buttons |= {unescape(each) for each in A_BUTTON.findall(body.decode())}
    for url in sorted(buttons):
        if (status := client.post(url, {"priority": "3"}).status_code) not in (200, 302):
            wrong.append(f"{status} after {url}")
    return wrong


def all_permissions() -> list[str]:
    models = {(model._meta.app_label, model._meta.model_name) for model in admin.site._registry}
    found = Permission.objects.select_related("content_type").order_by("pk")
    return [p.codename for p in found if p.content_type.natural_key() in models]


@pytest.mark.parametrize(
    "chosen", [FEW, pytest.param((), marks=pytest.mark.long)], ids=["few", "each"]
)
def test_with_one_permission_all_that_is_shown_can_be_opened_and_is_ones_own(
    client: Client, staff: User, world: Any, chosen: tuple[str, ...]
) -> None:
    client.raise_request_exception = False
    client.force_login(staff)
    wrong = {}
    for codename in chosen or set(all_permissions()) - {*RIGHTS}:
        allow(staff, codename)
        if found := faults(client, ("THEIRS", "SYSTEMS")):
            wrong[codename] = found
    assert wrong == {}


@pytest.mark.long
@pytest.mark.parametrize(
    ("rights", "hidden"),
    [
        ((), ("THEIRS", "SYSTEMS")),
        (("others_work",), ("SYSTEMS",)),
        (("system_work",), ("THEIRS",)),
        (RIGHTS, ()),
    ],
)
def test_with_every_other_permission_the_two_rights_say_whose_rows_are_shown(
    client: Client, staff: User, world: Any, rights: tuple[str, ...], hidden: tuple[str, ...]
) -> None:
    client.raise_request_exception = False
    client.force_login(staff)
    allow(staff, *(set(all_permissions()) - {*RIGHTS}), *rights)
    for mark, rows in world.items():
        for row in rows.values():
            status = client.get(page_of(row)).status_code
            # As a row that does not exist.
            assert status == (302 if mark in hidden else 200), (mark, row)
    assert faults(client, hidden) == []


def test_who_may_see_a_job_sees_its_pictures_and_no_traceback_is_logged(
    client: Client, staff: User, world: Any, caplog: Any
) -> None:
    client.force_login(staff)
    for codename, model in (("view_crawljob", CrawlJob), ("view_job", Job)):
        allow(staff, codename)
        page = client.get(page_of(world["MINE"][model])).content.decode()
        pictures = [src for src in A_LINK.findall(page) if re.search("/(picture|file)/", src)]
        assert pictures
        with caplog.at_level(logging.WARNING):
            assert {client.get(src).status_code for src in pictures} == {200}
        assert caplog.records == []
    image, asset = world["THEIRS"][Image], world["THEIRS"][Asset]
    allow(staff, "view_crawljob", "view_job", "view_image", "view_asset")
    picture = reverse("admin:crawler_image_picture", args=[image.pk, "small"])
    file = reverse("admin:jobs_asset_file", args=[asset.pk, "whole"])
    assert [client.get(url).status_code for url in (picture, file)] == [404, 404]


def test_nothing_can_be_done_to_the_rows_of_others(client: Client, staff: User, world: Any) -> None:
    client.force_login(staff)
    allow(staff, *(set(all_permissions()) - {*RIGHTS}))
    theirs = world["THEIRS"]
    for model, action in ((CrawlJob, "cancel"), (Job, "cancel"), (ProviderAccount, "disable")):
        row = theirs[model]
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        button = reverse(f"admin:{name}_act", args=[row.pk, action])
        assert client.post(button).status_code == 404
        assert client.get(reverse(f"admin:{name}_live", args=[row.pk])).status_code == 404
        marked = {"action": action, "_selected_action": [row.pk]}
        client.post(reverse(f"admin:{name}_changelist"), marked)
    for model in (CrawlJob, Job, ProviderAccount):
        before = theirs[model]
        assert model.objects.get(pk=before.pk).status == before.status
    assert client.post(reverse("look", args=[theirs[Profile].pk])).status_code == 404


def test_the_prompt_of_somebody_else_is_not_shown_to_who_asks_for_the_like(
    client: Client, staff: User, world: Any
) -> None:
    client.force_login(staff)
    add = reverse("admin:jobs_job_add")

    def form(mark: str) -> str:
        return client.get(add, {"like": world[mark][Job].pk}, follow=True).content.decode()

    allow(staff, "add_job")
    assert "MINE prompt" not in form("MINE")  # jobs may not be seen at all
    allow(staff, "add_job", "view_job")
    assert "MINE prompt" in form("MINE")
    assert "THEIRS prompt" not in form("THEIRS")
    assert "SYSTEMS prompt" not in form("SYSTEMS")


def new_crawl(page: Any, **values: Any) -> dict[str, Any]:
    source = {
        "sources-0-location": "https://example.org/sitemap.xml", "sources-0-kind": "sitemap",
        "sources-0-label": "", "sources-0-options": "{}", "sources-TOTAL_FORMS": "1",
    }  # fmt: skip
    return sent(page, name="new") | {"max_images": "5", **source, **values}


def test_the_labels_of_somebody_elses_job_are_no_filter(
    client: Client, staff: User, world: Any
) -> None:
    client.force_login(staff)
    allow(staff, "view_image", "view_candidate", "view_crawljob")
    for mark in ("MINE", "THEIRS"):
        CrawlJob.objects.filter(pk=world[mark][CrawlJob].pk).update(keywords=[f"{mark} label"])
    for model in ("image", "candidate"):
        lists = reverse(f"admin:crawler_{model}_changelist")
        for mark, is_offered in (("MINE", True), ("THEIRS", False)):
            page = client.get(lists, {"q": world[mark][CrawlJob].pk}).content.decode()
            assert (f"{mark} label" in page) == is_offered, (model, mark)


def test_limits_hold_for_staff_who_name_no_project(client: Client, staff: User, world: Any) -> None:
    client.force_login(staff)
    add = reverse("admin:crawler_crawljob_add")
    for rights, owner in (((), staff.profile), (("system_work",), None)):
        allow(staff, "add_crawljob", *rights)
        page = client.get(add)
        assert client.post(add, new_crawl(page)).status_code == 302
        job = CrawlJob.objects.latest("pk")
        assert job.project.owner == owner
        assert {source.owner for source in job.sources.all()} == {owner}
    refused = client.post(add, new_crawl(client.get(add), project=world["THEIRS"][Project].pk))
    assert refused.context["adminform"].form.errors["project"]
    allow(staff, "add_crawljob")
    many = new_crawl(client.get(add)) | {"max_images": str(10**6)}
    assert client.post(add, many).context["adminform"].form.errors["max_images"]


def test_a_generation_of_staff_is_their_own(client: Client, staff: User, world: Any) -> None:
    client.force_login(staff)
    add = f"{reverse('admin:jobs_job_add')}?provider=local&operation=text_to_image"
    asked = {"params-prompt": "a cat", "params-width": "64", "params-height": "64"}
    allow(staff, "add_job")
    assert client.post(add, asked).status_code == 200  # the owner must be named
    for owner in (world["THEIRS"][Profile].pk, "not a key"):
        assert client.post(add, asked | {"owner": str(owner)}).status_code == 200
    assert not Job.objects.filter(params__prompt="a cat").exists()
    own = client.post(add, asked | {"owner": str(staff.profile.pk)})
    assert (own.status_code, own["Location"]) == (302, "/admin/")
    assert Job.objects.get(params__prompt="a cat").owner == staff.profile


def test_a_chooser_that_could_not_load_is_a_plain_list_of_ones_own(
    client: Client, staff: User, world: Any
) -> None:
    client.force_login(staff)
    allow(staff, "add_crawljob", "add_jobchunk", "add_project")
    for name, field, own in (
        ("crawler_crawljob", "project", world["MINE"][Project]),
        ("crawler_jobchunk", "job", world["MINE"][CrawlJob]),
        ("crawler_project", "owner", world["MINE"][Profile]),
    ):
        page = client.get(reverse(f"admin:{name}_add"))
        assert "admin-autocomplete" not in page.content.decode(), name
        offered = page.context["adminform"].form.fields[field].choices
        assert [str(key) for key, _text in offered if key] == [str(own.pk)], name


def test_the_status_is_for_who_may_see_everybodys_work(client: Client, staff: User) -> None:
    client.force_login(staff)
    pages = [reverse("status"), reverse("status_figures")]
    assert [client.get(page).status_code for page in pages] == [403, 403]
    assert pages[0] not in client.get("/admin/").content.decode()
    allow(staff, *RIGHTS)
    assert [client.get(page).status_code for page in pages] == [200, 200]
    assert pages[0] in client.get("/admin/").content.decode()
