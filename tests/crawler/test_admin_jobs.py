"""Crawl jobs in the admin: add, change, look at and delete them."""

import json
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse

from accounts.models import ActivityLog, Profile
from crawler.errors import JobRefused, WrongState
from crawler.fetch.engine import Engine
from crawler.models import Candidate, CrawlJob, CrawlSource, Image, JobChunk, Project
from crawler.services import accepting, lifecycle
from crawler.services.projects import DEFAULT_PROJECT
from crawler.sources import guess_kind
from jobs.queue import api
from jobs.queue.kinds import kind_named
from jobs.queue.worker import loop
from tests.admin_forms import agreed, sent
from tests.crawler.in_process import wait_until
from tests.crawler.pictures import jpeg

ADD = reverse("admin:crawler_crawljob_add")


@pytest.fixture
def pictures(tmp_path, settings):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(6):
        (folder / f"{seed}.jpg").write_bytes(jpeg(seed=seed))
    (folder / "broken.jpg").write_bytes(b"no picture")
    settings.CRAWL_FOLDER_ROOTS = [str(tmp_path)]
    settings.STORAGES = {
        **settings.STORAGES,
        "blobs": {
            "BACKEND": "pixsim.core.blobs.local.BlobStorage",
            "OPTIONS": {"location": str(tmp_path / "blobs")},
        },
    }
    _close_engine()
    yield folder
    _close_engine()


def _close_engine():
    """The process's engine keeps the folders and the storage that it was started with."""
    if Engine._shared is not None:
        Engine._shared.close()


@pytest.fixture
def owner(db):
    user = User.objects.create_user("ada", "ada@example.org")
    return Profile.objects.get(user=user)


def asked(location="", **values):
    """What the browser sends for the form with one source."""
    source = {
        key.removeprefix("source_"): values.pop(key) for key in list(values) if "source_" in key
    }
    return {
        "name": "cats",
        "project": "",
        "keywords": "",
        "max_images": "5",
        "priority": "",
        "chunk_size": "2",
        "options": "{}",
        **values,
        "sources-TOTAL_FORMS": "1",
        "sources-INITIAL_FORMS": "0",
        "sources-MIN_NUM_FORMS": "0",
        "sources-MAX_NUM_FORMS": "1000",
        "sources-0-location": str(location),
        "sources-0-kind": source.get("kind", ""),
        "sources-0-label": source.get("label", ""),
        "sources-0-options": source.get("options", "{}"),
    }


def errors_of(response):
    """Field → message, of the form and of its first source."""
    form = response.context["adminform"].form
    formset = response.context["inline_admin_formsets"][0].formset
    sources = formset.forms[0].errors if formset.forms else {}
    return {
        **{name: errors[0] for name, errors in form.errors.items()},
        **{f"source {name}": errors[0] for name, errors in sources.items()},
        **({"sources": formset.non_form_errors()[0]} if formset.non_form_errors() else {}),
    }


# Adding


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_added_in_the_form_is_planned_and_its_chunks_complete(admin_client, pictures):
    response = admin_client.post(ADD, asked(pictures, keywords="cats", priority="7"))

    job = CrawlJob.objects.get()
    assert response.url == reverse("admin:crawler_crawljob_change", args=[job.pk])
    assert (job.total_chunks, job.active_chunks, job.priority, job.keywords) == (3, 3, 7, ["cats"])
    assert list(job.chunks.values_list("priority", flat=True)) == [7, 7, 7]
    source = job.sources.get()
    assert (source.kind, source.label) == ("folder", "cats")
    assert job.project.name == DEFAULT_PROJECT

    loop.run_worker_loop(task_id="t", slice_seconds=20)

    job.refresh_from_db()
    assert (job.status, job.valid_images, job.completed_chunks) == ("completed", 5, 3)
    page = admin_client.get(response.url).content.decode()
    assert "5 of 5 images" in page
    for image in Image.objects.all():
        answer = admin_client.get(reverse("admin:crawler_image_picture", args=[image.pk, "small"]))
        assert answer.status_code == 200
        assert answer.content.startswith(b"\xff\xd8")
        assert "private" in answer["Cache-Control"]


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("/data/pictures", "folder"),
        ("file:///data/pictures", "folder"),
        ("/data/list.csv", "urls"),
        ("/data/list.jsonl.gz", "urls"),
        ("https://example.org/list.TXT?x=1", "urls"),
        ("https://example.org/sitemap.xml", "sitemap"),
        ("https://example.org/sitemap_index.xml.gz", "sitemap"),
        ("https://example.org/", "page"),
        ("HTTPS://example.org/cats?view=all", "page"),
    ],
)
def test_the_kind_of_a_source_is_guessed_from_its_location(location, kind):
    assert guess_kind(location) == kind


def test_a_job_of_a_web_address_is_accepted_without_asking_the_network(admin_client, db):
    admin_client.post(ADD, asked("https://example.org/sitemap.xml"))

    assert CrawlSource.objects.get().kind == "sitemap"
    assert JobChunk.objects.count() == 3


@pytest.mark.parametrize(
    ("location", "values", "field", "words"),
    [
        ("/pictures", {"max_images": "0"}, "max_images", "1"),
        ("/pictures", {"max_images": "-3"}, "max_images", "1"),
        ("/pictures", {"max_images": "9" * 40}, "max_images", ""),
        ("/pictures", {"max_images": "many"}, "max_images", "whole number"),
        ("/pictures", {"priority": "11"}, "priority", "10"),
        ("/pictures", {"chunk_size": "0"}, "chunk_size", "1"),
        ("/pictures", {"options": "{"}, "options", "valid JSON"),
        ("/pictures", {"options": "[1]"}, "options", "object"),
        ("/pictures", {"options": "[" * 9000}, "options", ""),
        ("/pictures", {"options": "1" * 5000}, "options", ""),
        ("/pictures", {"options": '{"licences": ["\\u0000"]}'}, "options", "stored"),
        ("/pictures", {"options": '{"max_aspect": NaN}'}, "options", "stored"),
        ("/pictures", {"options": '{"min_sid": 3}'}, "options", "min_sid"),
        ("", {}, "sources", "at least one source"),
        ("relative/path", {}, "source location", "absolute"),
        ("/etc", {}, "source location", "outside"),
        ("/pictures/none", {}, "source location", "not a folder"),
        ("ftp://example.org/list.csv", {}, "source location", "no address that is read (https"),
        ("ftp://example.org/pictures", {}, "source location", "no address that is read (https"),
        ("not a url", {}, "source location", "'not a url' is no address (https"),
        ("javascript:alert(1)", {}, "source location", "is no address (https"),
        ("http://169.254.169.254/", {}, "source location", "169.254.169.254"),
        ("x", {"source_kind": "page"}, "source location", "does not start with http"),
        ("/pictures", {"source_kind": "disk"}, "source kind", "disk"),
        ("/pictures", {"source_options": '{"x": 1}'}, "source options", "x: a source of kind"),
        ("/pictures", {"source_options": '{"labels": 3}'}, "source options", "labels: must be"),
        ("/pictures", {"source_label": "l" * 101}, "source label", "100"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(
    admin_client, pictures, location, values, field, words
):
    location = location.replace("/pictures", str(pictures))

    response = admin_client.post(ADD, asked(location, **values))

    assert response.status_code == 200
    errors = errors_of(response)
    assert list(errors) == [field]
    assert words in errors[field]
    assert not CrawlJob.objects.exists()
    assert not Project.objects.exists()


def test_a_job_beyond_the_tier_of_the_projects_owner_is_refused(
    admin_client, pictures, owner, settings
):
    settings.TIERS = {"FREE": {"images_per_job": 4, "concurrent_jobs": 1}}
    project = Project.objects.create(name="Ada's", owner=owner)

    too_many = admin_client.post(ADD, asked(pictures, project=project.pk))
    fits = admin_client.post(ADD, asked(pictures, project=project.pk, max_images="4"))
    second = admin_client.post(ADD, asked(pictures, project=project.pk, max_images="4"))

    assert "allows 4" in errors_of(too_many)["max_images"]
    assert ActivityLog.objects.filter(action="crawl_job.created").count() == 1
    assert fits.status_code == 302
    assert "concurrent_jobs" in errors_of(second)["project"]
    job = CrawlJob.objects.get()
    assert job.priority == 3, "the tier's own priority"
    assert set(job.chunks.values_list("owner_id", flat=True)) == {owner.pk}
    assert job.chunks.filter(ready_at__isnull=False).count() == 2, "the window of FREE"


def test_the_form_and_the_command_make_the_same_job_of_the_same_wishes(admin_client, pictures):
    asked_for = asked(pictures, keywords="cats", max_images="4000", chunk_size="")
    admin_client.post(ADD, asked_for)
    call_command(
        "crawl", "--source", "folder", "--from", str(pictures), "--label", "cats",
        "--name", "cats", "--max-images", "4000",
    )  # fmt: skip

    first, second = CrawlJob.objects.order_by("id")
    for name in ("name", "project", "keywords", "priority", "chunk_size", "total_chunks"):
        assert getattr(first, name) == getattr(second, name), name
    assert first.chunk_size == 100
    labels = {(source.kind, source.label, source.priority) for source in CrawlSource.objects.all()}
    assert labels == {("folder", "cats", 5)}
    assert ActivityLog.objects.filter(action="crawl_job.created").count() == 2


def test_a_tier_without_the_feature_does_not_crawl(admin_client, pictures, owner, settings):
    settings.TIERS = {"FREE": {"features": ["generate"]}}
    project = Project.objects.create(name="Ada's", owner=owner)

    response = admin_client.post(ADD, asked(pictures, project=project.pk))

    assert "crawl: tier FREE does not have" in errors_of(response)["project"]


def test_a_project_beyond_its_owners_tier_is_refused_in_the_admin(admin_client, owner, settings):
    settings.TIERS = {"FREE": {"projects": 1}}
    url = reverse("admin:crawler_project_add")
    data = {"name": "first", "owner": str(owner.pk), "description": ""}

    assert admin_client.post(url, data).status_code == 302
    refused = admin_client.post(url, {**data, "name": "second"})

    form = refused.context["adminform"].form
    assert "projects: tier FREE allows 1" in form.errors["owner"][0]
    assert [project.name for project in Project.objects.all()] == ["first"]
    assert ActivityLog.objects.filter(action="project.created").count() == 1


def test_a_project_is_renamed_and_keeps_its_owner(admin_client, owner):
    project = Project.objects.create(name="Ada's", owner=owner)
    url = reverse("admin:crawler_project_change", args=[project.pk])
    page = admin_client.get(url)

    admin_client.post(url, sent(page, name="Zoo", owner=""))
    refused = admin_client.post(url, sent(page, name="Farm"))

    assert "has changed since" in refused.content.decode()
    project.refresh_from_db()
    assert (project.name, project.owner) == ("Zoo", owner)


def test_a_job_does_not_move_to_the_project_of_another_owner(admin_client, job, owner):
    project = Project.objects.create(name="Ada's", owner=owner)

    change(admin_client, job, project=str(project.pk), max_images="9")

    before = (job.project, job.max_images)
    job.refresh_from_db()
    assert (job.project, job.max_images) == before
    with pytest.raises(JobRefused, match="not the owner's"):
        accepting.create_crawl_job(
            owner=None, name="j", max_images=1, source_specs=[], project=project
        )
    with pytest.raises(ValueError, match="cannot be changed"):
        lifecycle.change_job(job_id=job.pk, changes={"project": project})


def test_a_job_of_very_many_chunks_is_left_to_the_workers_to_plan(admin_client, pictures):
    response = admin_client.post(ADD, asked(pictures, max_images="10000", chunk_size="1"))

    assert response.status_code == 302
    assert not JobChunk.objects.exists()
    assert CrawlJob.objects.unplanned().count() == 1


# Changes and lifecycle


@pytest.fixture
def job(admin_client, pictures):
    admin_client.post(ADD, asked(pictures))
    return CrawlJob.objects.get()


def url_of(job):
    return reverse("admin:crawler_crawljob_change", args=[job.pk])


def change(client, job, **values):
    return client.post(url_of(job), sent(client.get(url_of(job)), **values))


@pytest.mark.django_db(transaction=True)
def test_a_changed_priority_reaches_the_waiting_chunks(admin_client, job):
    assert change(admin_client, job, priority="9", name="dogs").status_code == 302

    job.refresh_from_db()
    assert (job.name, job.priority) == ("dogs", 9)
    assert set(job.chunks.values_list("priority", flat=True)) == {9}
    assert set(job.sources.values_list("priority", flat=True)) == {9}


@pytest.mark.django_db(transaction=True)
def test_saving_the_form_does_not_undo_what_workers_counted_meanwhile(admin_client, job):
    page = admin_client.get(url_of(job))
    loop.run_worker_loop(task_id="t", slice_seconds=20)

    refused = admin_client.post(url_of(job), sent(page, options='{"min_side": 64}'))
    assert "has changed since the page was shown" in refused.content.decode()
    refused = admin_client.post(url_of(job), sent(page, name="dogs"))
    assert "was “pending”, is “completed” now" in refused.content.decode()
    assert admin_client.post(url_of(job), sent(refused)).status_code == 302

    job.refresh_from_db()
    assert (job.name, job.status, job.valid_images) == ("dogs", "completed", 5), job.outcomes
    assert job.options == {}, "an ended job's options are fixed"


def test_a_form_does_not_undo_what_somebody_else_changed_meanwhile(admin_client, job):
    page = admin_client.get(url_of(job))
    CrawlJob.objects.update(name="dogs", priority=8)

    refused = admin_client.post(url_of(job), sent(page, priority="2", keywords="birds"))

    assert list(refused.context["adminform"].form.non_field_errors())[1:] == [
        "Name: was “cats”, is “dogs” now, stays so.",
        'Keywords: was empty, is empty now, would become ["birds"].',
        "Priority: was 5, is 8 now, would become 2.",
    ]
    job.refresh_from_db()
    assert (job.name, job.priority, job.keywords) == ("dogs", 8, [])
    admin_client.post(url_of(job), sent(refused))
    job.refresh_from_db()
    assert (job.name, job.priority, job.keywords) == ("dogs", 2, ["birds"])


def test_what_changes_while_the_form_is_saved_is_not_overwritten(admin_client, job, monkeypatch):
    check_options = lifecycle.check_options

    def check_while_somebody_changes_them(options):
        CrawlJob.objects.update(options={"min_side": 9})
        return check_options(options)

    monkeypatch.setattr(lifecycle, "check_options", check_while_somebody_changes_them)

    response = change(admin_client, job, options='{"min_side": 64}')

    assert "has changed meanwhile" in response.content.decode()


def test_options_of_a_job_may_be_changed_in_the_words_that_people_use(admin_client, job):
    change(
        admin_client, job, options='{"formats": ["JPG", ".tif"], "near_duplicate_distance": null}'
    )

    job.refresh_from_db()
    assert job.options == {"formats": ["jpeg", "tiff"], "near_duplicate_distance": 0}


@pytest.mark.django_db(transaction=True)
def test_a_source_added_to_an_open_job_is_read(admin_client, job, pictures):
    CrawlJob.objects.update(keywords=["cats"], priority=7)
    more = pictures.parent / "more"
    more.mkdir()
    data = {
        "sources-TOTAL_FORMS": "2",
        "sources-INITIAL_FORMS": "1",
        "sources-0-id": job.sources.get().pk,
        "sources-0-job": job.pk,
        "sources-1-location": str(more),
        "sources-1-kind": "",
        "sources-1-label": "",
        "sources-1-options": "{}",
        "sources-1-job": job.pk,
    }

    assert change(admin_client, job, **data).status_code == 302

    assert job.sources.filter(ready_at__isnull=False).count() == 2
    added = job.sources.order_by("id").last()
    assert (added.label, added.priority) == ("cats", 7), "like those of a new job"
    assert ActivityLog.objects.filter(action="crawl_job.sources_added").count() == 1


def test_a_source_of_a_job_that_has_ended_meanwhile_is_refused(admin_client, job, pictures):
    spec = accepting.SourceSpec("folder", str(pictures))
    CrawlJob.objects.update(status="completed")

    with pytest.raises(WrongState, match="no source can be added"):
        accepting.add_sources(job_id=job.pk, source_specs=[spec])
    assert job.sources.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_priority_of_a_job_that_has_ended_does_not_change(admin_client, job):
    lifecycle.cancel_job(job_id=job.pk)

    with pytest.raises(WrongState, match="cancelled: its priority cannot change"):
        lifecycle.change_priority(job_id=job.pk, priority=9)
    assert CrawlJob.objects.get().priority == 5
    assert not job.chunks.filter(priority=9).exists()


def test_a_priority_above_the_tiers_highest_is_refused_when_it_is_changed(
    admin_client, pictures, owner
):
    project = Project.objects.create(name="Ada's", owner=owner)
    admin_client.post(ADD, asked(pictures, project=project.pk))
    job = CrawlJob.objects.get()

    refused = change(admin_client, job, priority="6")
    assert "highest_priority: tier FREE allows 5" in errors_of(refused)["priority"]
    url = reverse("admin:crawler_crawljob_changelist")
    data = {"action": "change_priority", "_selected_action": [job.pk], "priority": "6"}
    page = admin_client.post(url, {**data, "index": "0"}, follow=True)
    assert "tier FREE allows 5" in page.content.decode()
    with pytest.raises(CommandError, match="tier FREE allows 5"):
        call_command("crawl_job", str(job.pk), "priority", "6")
    assert set(job.chunks.values_list("priority", flat=True)) == {3}
    assert change(admin_client, job, priority="5").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_a_job_is_paused_resumed_and_cancelled_by_its_buttons(admin_client, job):
    def press(verb):
        url = reverse("admin:crawler_crawljob_act", args=[job.pk, verb])
        return admin_client.post(url, {"confirmed": "yes"}, follow=True).content.decode()

    assert "is paused" in press("pause")
    assert job.chunks.filter(held=True).count() == 3
    assert "is resumed" in press("resume")
    assert job.chunks.filter(ready_at__isnull=False).count() == 3
    assert "is cancelled" in press("cancel")
    assert "it cannot become" in press("pause")
    assert ActivityLog.objects.filter(action="crawl_job.paused").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_cancelled_job_is_taken_up_again_or_repeated_by_its_buttons(admin_client, job):
    def press(verb):
        url = reverse("admin:crawler_crawljob_act", args=[job.pk, verb])
        return admin_client.post(url, {"confirmed": "yes"}, follow=True).content.decode()

    page = press("cancel")
    assert [verb in page for verb in (">Retry<", ">Repeat<", ">Resume<")] == [True, True, False]
    page = press("repeat")
    new = CrawlJob.objects.latest("id")
    assert new.pk != job.pk
    assert f'<a href="/admin/crawler/crawljob/{new.pk}/change/">Crawl job {new.pk}</a>' in page
    assert "is being tried again" in press("retry")
    job.refresh_from_db()
    assert (job.status, new.status) == ("running", "pending")


@pytest.mark.django_db(transaction=True)
def test_the_chunks_of_a_cancelled_job_are_shown_as_cancelled_until_it_is_retried(
    admin_client, job
):
    live = reverse("admin:crawler_crawljob_live", args=[job.pk])
    chunks = reverse("admin:crawler_jobchunk_changelist")
    [work] = api.claim(kind_named("chunk"), limit=1, task_id="t")
    lifecycle.cancel_job(job_id=job.pk)

    shown = admin_client.get(live).json()
    assert shown["live"]  # a worker still has one of them
    assert "1 processing" in shown["html"]
    assert "2 cancelled" in shown["html"]
    api.wait(work, seconds=None, reason="The job is cancelled.")
    shown = admin_client.get(live).json()
    assert not shown["live"]
    assert ("3 cancelled" in shown["html"], "held" in shown["html"]) == (True, False)

    def listed(state):
        return admin_client.get(chunks, {"state": state}).context["cl"].result_count

    assert [listed(state) for state in ("open", "held", "stopped", "cancelled")] == [0, 0, 0, 3]
    page = admin_client.get(chunks).content.decode()
    assert page.count(">cancelled</span>") == 3
    lifecycle.retry_job(job_id=job.pk)
    assert " cancelled</span>" not in admin_client.get(live).json()["html"]
    assert listed("open") == 3


def test_repeating_needs_the_permission_to_add_jobs(client, job):
    user = User.objects.create_user("editor", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["view_crawljob", "change_crawljob", "system_work"])
    )
    client.force_login(user)
    lifecycle.cancel_job(job_id=job.pk)
    page = client.get(reverse("admin:crawler_crawljob_change", args=[job.pk])).content.decode()
    assert (">Retry<" in page, ">Repeat<" in page) == (True, False)
    url = reverse("admin:crawler_crawljob_act", args=[job.pk, "repeat"])
    assert client.post(url).status_code == 403
    assert CrawlJob.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_actions_of_the_list_change_the_selected_jobs(admin_client, job):
    url = reverse("admin:crawler_crawljob_changelist")

    def act(action, **values):
        data = {"action": action, "_selected_action": [job.pk], "index": "0", **values}
        return agreed(admin_client, url, data).content.decode()

    assert "Choose the priority" in act("change_priority")
    assert "No action selected" in act("change_priority", priority="11")
    assert "now with priority 10" in act("change_priority", priority="10")
    assert set(job.chunks.values_list("priority", flat=True)) == {10}
    assert "is cancelled" in act("cancel")
    assert "is being tried again" in act("retry")
    job.refresh_from_db()
    assert (job.status, job.chunks.filter(held=True).count()) == ("running", 0)
    assert "nothing to try again" in act("retry")


def test_deleting_a_job_deletes_everything_under_it(admin_client, job):
    Candidate.objects.create(job=job, url="https://example.org/a.jpg", url_key=b"k", host="h")
    url = reverse("admin:crawler_crawljob_delete", args=[job.pk])

    assert "its chunks, sources, candidates and images" in admin_client.get(url).content.decode()
    admin_client.post(url, {"post": "yes"})

    left = [m.objects.count() for m in (CrawlJob, JobChunk, CrawlSource, Candidate)]
    assert left == [0, 0, 0, 0]


def someone_waits_for(pid):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE %s = ANY(pg_blocking_pids(pid))", [pid])
        return cursor.fetchone()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["crawljob", "project"])
def test_deleting_what_a_worker_works_on_waits_for_it(admin_client, job, what):
    key = job.pk if what == "crawljob" else job.project_id
    url = reverse(f"admin:crawler_{what}_delete", args=[key])

    def delete():
        try:
            return admin_client.post(url, {"post": "yes"}).status_code
        finally:
            connection.close()

    with (
        ThreadPoolExecutor() as pool,
        psycopg.connect(**connection.get_connection_params()) as worker,
    ):
        worker.execute("SELECT 1 FROM job_chunks WHERE job_id = %s FOR UPDATE", [job.pk])
        deleting = pool.submit(delete)
        wait_until(lambda: someone_waits_for(worker.info.backend_pid))
        worker.execute("UPDATE crawl_jobs SET valid_images = 1 WHERE id = %s", [job.pk])
        worker.commit()
        assert deleting.result(timeout=10) == 302
    assert not CrawlJob.objects.exists()


# Looking


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", ["change", "live"])
def test_all_figures_of_a_page_are_those_of_one_moment(admin_client, job, page):
    url = reverse(f"admin:crawler_crawljob_{page}", args=[job.pk])
    found = []

    def commit_in_between(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if 'FROM "crawl_jobs"' in sql and not found:
            found.append(sql)
            with psycopg.connect(**connection.get_connection_params()) as worker:
                worker.execute("UPDATE crawl_sources SET found = 5")
                worker.execute("UPDATE crawl_jobs SET total_images = 5, priority = 9")
        return result

    def shown():
        html = admin_client.get(url).content.decode().replace("\\n", "")
        return "0 addresses" in html, ">0 found<" in html, "priority 9" in html

    with connection.execute_wrapper(commit_in_between):
        assert shown() == (True, True, False)
    assert found
    assert shown() == (False, False, True)


def test_the_tab_names_the_job_and_its_state(admin_client, job):
    page = admin_client.get(reverse("admin:crawler_crawljob_change", args=[job.pk]))
    title = f"Crawl job {job.pk} pending, 0 %: {job.name} | PixSim"
    assert f"<title>{title}</title>" in page.content.decode()
    live = admin_client.get(reverse("admin:crawler_crawljob_live", args=[job.pk]))
    assert live.json()["title"] == title


def test_untrusted_names_and_addresses_are_shown_as_text(admin_client, job):
    attack = "<script>alert(1)</script>"
    CrawlJob.objects.update(
        name=attack, error_message=attack, outcomes={attack: 3, "stored": 1}, keywords=[attack]
    )
    CrawlSource.objects.update(location=f"https://x/{attack}", error_message=attack)
    JobChunk.objects.update(error_message=attack, task_id=attack)
    Candidate.objects.create(
        job=job, url=f"https://x/{attack}", url_key=b"k", host=attack, detail=attack, label=attack
    )
    Image.objects.create(
        crawl_job=job, original_url=f"https://x/{attack}", filename=attack, label=attack
    )

    for page in (
        reverse("admin:crawler_crawljob_changelist"),
        reverse("admin:crawler_crawljob_change", args=[job.pk]),
        reverse("admin:crawler_jobchunk_changelist"),
        reverse("admin:crawler_jobchunk_change", args=[job.chunks.first().pk]),
        reverse("admin:crawler_candidate_changelist"),
        reverse("admin:crawler_candidate_change", args=[Candidate.objects.get().pk]),
        reverse("admin:crawler_image_changelist"),
        reverse("admin:crawler_image_change", args=[Image.objects.get().pk]),
    ):
        html = admin_client.get(page).content.decode()
        assert attack not in html, page
        assert "&lt;script&gt;" in html, page
    live = admin_client.get(reverse("admin:crawler_crawljob_live", args=[job.pk])).json()
    assert attack not in live["html"]


def test_invalid_counts_do_not_break_the_page(admin_client, job):
    CrawlJob.objects.update(
        max_images=0, valid_images=7, outcomes={"stored": 2**40, "x": "y"}, active_chunks=-2
    )

    page = admin_client.get(reverse("admin:crawler_crawljob_change", args=[job.pk]))

    assert page.status_code == 200


def test_the_pages_need_permission(client, job):
    url = reverse("admin:crawler_crawljob_change", args=[job.pk])
    overview = reverse("admin:crawler_crawljob_live", args=[job.pk])
    pause = reverse("admin:crawler_crawljob_act", args=[job.pk, "pause"])
    image = Image.objects.create(crawl_job=job, original_url="x", filename="x")
    picture = reverse("admin:crawler_image_picture", args=[image.pk, "small"])

    assert [client.get(page).status_code for page in (url, overview, picture)] == [302] * 3
    client.force_login(User.objects.create_user("eve"))
    assert [client.get(page).status_code for page in (url, overview, picture)] == [302] * 3
    staff = User.objects.create_user("sam", is_staff=True)
    client.force_login(staff)
    assert [client.get(page).status_code for page in (url, overview, picture)] == [403] * 3
    staff.user_permissions.add(Permission.objects.get(codename="view_crawljob"))
    assert [client.get(page).status_code for page in (overview, picture)] == [404] * 2
    staff.user_permissions.add(Permission.objects.get(codename="system_work"))
    assert client.get(url).status_code == 200
    assert json.loads(client.get(overview).content)["live"] is True
    assert client.post(pause).status_code == 403
    assert CrawlJob.objects.get().status == "pending"


def test_nothing_is_changed_by_following_a_link(admin_client, job):
    url = reverse("admin:crawler_crawljob_act", args=[job.pk, "cancel"])

    assert admin_client.get(url).status_code == 405
    assert CrawlJob.objects.get().status == "pending"


def test_a_near_duplicate_is_taken_back_into_the_dataset(admin_client, job):
    first, second = (
        Image.objects.create(crawl_job=job, original_url=f"https://x/{n}", filename=f"{n}.jpg")
        for n in (1, 2)
    )
    Image.objects.filter(pk=second.pk).update(near_duplicate_of=first)
    assert Image.objects.in_dataset().count() == 1

    admin_client.post(
        reverse("admin:crawler_image_changelist"),
        {"action": "unmark", "_selected_action": [first.pk, second.pk], "index": "0"},
    )

    assert Image.objects.in_dataset().count() == 2
    assert ActivityLog.objects.get(action="images.unmarked_near_duplicate").metadata["changed"] == 1


def test_a_picture_that_is_not_there_or_not_one_is_an_empty_frame(admin_client, job, pictures):
    image = Image.objects.create(
        crawl_job=job, original_url="x", filename="x", storage_url="aa/bb/" + "0" * 64
    )
    url = reverse("admin:crawler_image_picture", args=[image.pk, "small"])

    answer = admin_client.get(url)

    assert (answer.status_code, answer["Content-Type"]) == (404, "image/svg+xml")
    Image.objects.update(storage_url="../../../etc/passwd")
    assert admin_client.get(url).status_code == 404
