"""Generations in the admin: the form that adds them, their page, and its actions."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import credits
from accounts.models import Profile
from jobs import services
from jobs.errors import GenerationRefused
from jobs.models import Asset, Job, Workspace
from providers.models import ProviderAccount, ProviderSubmission
from tests.jobs.generation.conftest import ask, finish, work
from tests.providers.adapters.fake import DROPPED_AFTER, Ending, picture, refuses
from tests.providers.adapters.simple_adapter import SimpleAdapter
from tests.providers.adapters.simple_fake import error

pytestmark = pytest.mark.django_db(transaction=True)

ADD = reverse("admin:jobs_job_add")
LIST = reverse("admin:jobs_job_changelist")
PICTURE = {"provider": "local", "operation": "text_to_image"}
REMOTE = {"provider": "simple", "operation": "text_to_image"}


def page_of(job: Job) -> str:
    return reverse("admin:jobs_job_change", args=[job.pk])


def sent(**values: Any) -> dict[str, Any]:
    """What a browser sends from the form, of which only the given fields are filled in."""
    return {
        "owner": "",
        "name": "",
        "priority": "",
        "scheduled_at_0": "",
        "scheduled_at_1": "",
        "parent": "",
        "workspace": "",
        "idempotency_key": "",
        **values,
    }


def post(client: Client, what: dict[str, str], **values: Any) -> Any:
    return client.post(f"{ADD}?{'&'.join(f'{k}={v}' for k, v in what.items())}", sent(**values))


def errors_of(answer: Any) -> dict[str, str]:
    """Field → the first refusal on it."""
    forms = [answer.context["params_form"].form, answer.context["job_form"].form]
    return {name: texts[0] for form in forms for name, texts in form.errors.items()}


def act(client: Client, job: Job, action: str, **values: str) -> str:
    url = reverse("admin:jobs_job_act", args=[job.pk, action])
    answer = client.post(url, {"confirmed": "yes", **values}, follow=True)
    return str(answer.content.decode())


# Asking


def test_a_job_that_is_added_in_the_form_runs_and_its_page_shows_what_it_made(
    admin_client: Client, blob_folder: Any
) -> None:
    choice = admin_client.get(ADD).content.decode()
    assert "operation=text_to_image" in choice
    form = admin_client.get(ADD, PICTURE).content.decode()
    assert 'name="params-prompt"' in form
    assert "How it is drawn" in form

    params = {"params-prompt": "a red panda", "params-width": "64", "params-height": "48",
              "params-count": "1", "params-format": "png", "params-quality": "88",
              "params-style": "nebula"}  # fmt: skip
    answer = post(admin_client, PICTURE, name="Panda", **params)
    job = Job.objects.get()
    assert answer.url == page_of(job)
    assert (job.name, job.params["width"], job.params["style"]) == ("Panda", 64, "nebula")

    job = finish(job)
    page = admin_client.get(page_of(job)).content.decode()
    assert "a red panda" in page
    assert "Attempt 1 through" in page
    assert "data-live-ended" in page
    picture = reverse("admin:jobs_asset_file", args=[job.asset_id, "whole"])
    assert f'src="{picture}"' in page
    answer = admin_client.get(picture)
    assert b"".join(answer.streaming_content).startswith(b"\x89PNG")
    assert answer["Content-Type"] == "image/png"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]
    again = admin_client.get(ADD, {"like": job.pk}).content.decode()
    assert "a red panda" in again


def test_a_player_may_jump_in_a_file(admin_client: Client, blob_folder: Any) -> None:
    song = finish(
        services.create_job(
            owner=None, provider="local", operation="song", params={"title": "Dunes", "seconds": 5}
        )
    )
    url = reverse("admin:jobs_asset_file", args=[song.asset_id, "whole"])
    whole = admin_client.get(url)
    data = b"".join(whole.streaming_content)
    assert whole["Accept-Ranges"] == "bytes"
    part = admin_client.get(url, headers={"Range": "bytes=8-11", "If-Range": whole["ETag"]})
    assert (part.status_code, b"".join(part.streaming_content)) == (206, b"WAVE")
    assert part["Content-Range"] == f"bytes 8-11/{len(data)}"
    assert part["Content-Length"] == "4"
    assert part["Content-Type"] == "audio/wav"
    other = admin_client.get(url, headers={"Range": "bytes=8-11", "If-Range": '"another"'})
    assert other.status_code == 200
    beyond = admin_client.get(url, headers={"Range": f"bytes={len(data)}-"})
    assert (beyond.status_code, beyond["Content-Range"]) == (416, f"bytes */{len(data)}")


EDIT = {"provider": "local", "operation": "image_to_image"}


def test_a_file_from_ones_own_computer_is_an_input(
    admin_client: Client, ada: Profile, blob_folder: Any
) -> None:
    assert 'name="upload-image"' in admin_client.get(ADD, EDIT).content.decode()
    assert "upload-" not in admin_client.get(ADD, PICTURE).content.decode()
    effect = {"params-effect": "auto", "params-format": "png", "params-quality": "88"}

    text = SimpleUploadedFile("notes.txt", b"no picture", "image/png")
    page = post(admin_client, EDIT, **effect, **{"upload-image": text}).content.decode()
    assert "notes.txt: It is no picture, video or sound" in page
    assert not Job.objects.exists()

    mine = SimpleUploadedFile("mine.png", picture(), "image/png")
    post(admin_client, EDIT, owner=ada.pk, **effect, **{"upload-image": mine})
    job = Job.objects.get()
    asset = Asset.objects.get()
    assert (asset.user, asset.description) == (ada.user, "mine.png")
    assert asset.is_upright
    assert job.params["image"] == f"asset:{asset.pk}"
    assert finish(job).status == "completed"


def test_a_file_beside_a_wrong_field_is_kept_or_asked_for_again(
    admin_client: Client, ada: Profile, blob_folder: Any
) -> None:
    effect = {"params-effect": "auto", "params-format": "png", "params-quality": "88"}

    def with_file(**values: Any) -> Any:
        mine = SimpleUploadedFile("mine.png", picture(), "image/png")
        return post(admin_client, EDIT, **{**effect, **values, "upload-image": mine})

    for wrong in ({"priority": "77"}, {"params-effect": "nonsense"}, {"parent": "77"}):
        page = with_file(owner=ada.pk, **wrong)
        [field] = wrong
        assert list(errors_of(page)) == [field.removeprefix("params-")]
        assert "No file was submitted" not in page.content.decode()
        asset = Asset.objects.get()
        assert page.context["params_form"].form["image"].value() == f"asset:{asset.pk}"
    page = with_file(owner="nobody")
    assert "choose the owner and them again" in page.content.decode()
    assert Asset.objects.count() == 1
    kept = {"owner": ada.pk, **effect, "params-image": f"asset:{asset.pk}"}
    assert post(admin_client, EDIT, **kept).status_code == 302
    assert Job.objects.get().params["image"] == f"asset:{asset.pk}"


FORBIDDEN = [
    "javascript:alert(1)", "file:///etc/passwd", "ftp://x.org/a.png", "not a url", "//x.org/a.png",
    "http://169.254.169.254/latest/meta-data", "http://[fe80::1]/a.png", "http://0x7f.1:22/",
    "http://user:pw@localhost:5432/", "parent:1", "blob:x", "\\\\host\\share",
]  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
def test_an_input_that_nobody_may_fetch_is_refused_by_form_command_and_worker(
    admin_client: Client, address: str
) -> None:
    for effect in ("auto", "nonsense"):  # beside another mistake, too
        given = {"params-image": address, "params-effect": effect, "params-format": "png"}
        refused = errors_of(post(admin_client, EDIT, **given, **{"params-quality": "88"}))
        assert "may not be fetched" in refused["image"]
    with pytest.raises(GenerationRefused, match="image"):
        services.create_job(
            owner=None, provider="local", operation="image_to_image", params={"image": address}
        )
    assert not Job.objects.exists()
    job = services.create_job(
        owner=None,
        provider="local",
        operation="image_to_image",
        params={"image": "https://x.org/a.png"},
    )
    Job.objects.update(params={"image": address})
    job = finish(job)
    assert job.status == "failed"
    assert "image" in (job.error_message or "")


def test_every_refusal_lands_on_its_field_and_nothing_is_kept(
    admin_client: Client, ada: Profile, blob_folder: Any
) -> None:
    other = User.objects.create_user("other")
    theirs = Workspace.objects.create(user=other, name="theirs")
    failed = Job.objects.create(
        user=ada.user, provider_id="simple", operation_type="text_to_image", status="failed"
    )
    size = {"params-width": "4000", "params-height": "4000", "params-count": "9"}
    local = {"params-prompt": "x", "params-format": "png", "params-quality": "88"}
    cases: list[tuple[dict[str, str], dict[str, Any], dict[str, str]]] = [
        (PICTURE, {**local, "params-prompt": ""}, {"prompt": "required"}),
        (PICTURE, {**local, **size}, {"count": "less than or equal to 4"}),
        (
            PICTURE,
            {**local, **size, "params-count": "1", "params-style": "auto"},
            {"height": "more than"},
        ),
        (
            {"provider": "local", "operation": "image_to_image"},
            {"params-image": "asset:77", "params-effect": "auto", "params-format": "png"},
            {"image": "there is no asset:77"},
        ),
        (
            REMOTE,
            {"params-prompt": "x", "workspace": theirs.pk},
            {"workspace": "there is no workspace"},
        ),
        (
            REMOTE,
            {"params-prompt": "x", "owner": ada.pk, "priority": "10"},
            {"priority": "tier PRO"},
        ),
        (REMOTE, {"params-prompt": "x", "parent": "999"}, {"parent": "valid choice"}),
        (
            REMOTE,
            {"params-prompt": "x", "owner": ada.pk, "parent": failed.pk},
            {"parent": "it made nothing"},
        ),
        (REMOTE, {"params-prompt": "x", "scheduled_at_0": "soon"}, {"scheduled_at": "valid"}),
        (REMOTE, {"params-prompt": "", "priority": "11"}, {"prompt": "required", "priority": "11"}),
    ]
    for what, values, wanted in cases:
        answer = post(admin_client, what, **values)
        assert answer.status_code == 200, values
        found = errors_of(answer)
        assert found.keys() == wanted.keys(), (values, found)
        for name, text in wanted.items():
            assert text in found[name]
            assert text in answer.content.decode().replace("&#x27;", "'")
    assert Job.objects.count() == 1
    assert credits.balance(ada) == 1000


def test_who_cannot_pay_is_told_so_at_the_owner(admin_client: Client, ada: Profile) -> None:
    credits.hold(profile=ada, amount=999, description="all of it", reference="rest")
    answer = post(admin_client, REMOTE, **{"params-prompt": "x", "owner": ada.pk})
    assert "2 are needed and 1 are there" in errors_of(answer)["owner"]
    assert not Job.objects.exists()


def test_who_may_not_schedule_is_told_so_at_the_time(admin_client: Client, ada: Profile) -> None:
    Profile.objects.filter(pk=ada.pk).update(user_tier="FREE")
    later = {"scheduled_at_0": "2130-01-01", "scheduled_at_1": "12:00"}
    answer = post(admin_client, REMOTE, **{"params-prompt": "x", "owner": ada.pk, **later})
    assert "schedule: tier FREE does not have" in errors_of(answer)["scheduled_at"]
    assert not Job.objects.exists()


def test_a_workspace_is_reached_from_its_job_and_not_from_the_menu(admin_client: Client) -> None:
    workspace = Workspace.objects.create(user=User.objects.create_user("eve"), name="adopted")
    job = Job.objects.create(
        user=workspace.user, provider_id="simple", operation_type="song", workspace=workspace
    )
    menu = admin_client.get(reverse("admin:index")).content.decode()
    assert reverse("admin:jobs_job_changelist") in menu
    assert reverse("admin:jobs_workspace_changelist") not in menu
    page = reverse("admin:jobs_workspace_change", args=[workspace.pk])
    assert f'href="{page}"' in admin_client.get(page_of(job)).content.decode()
    assert "adopted" in admin_client.get(page).content.decode()


def test_asking_needs_the_permission_to_add_jobs_and_a_provider_that_there_is(
    client: Client, admin_client: Client
) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__in=["view_job", "change_job"]))
    client.force_login(viewer)
    assert client.get(ADD).status_code == 403
    assert post(client, PICTURE, **{"params-prompt": "x"}).status_code == 403
    for what in ({"provider": "nobody"}, {**PICTURE, "model": "none"}, {"like": "x" * 50}):
        answer = admin_client.get(ADD, what)
        assert answer.status_code == 200
        assert answer.context["providers"]


def test_every_operation_of_every_provider_has_a_form(admin_client: Client) -> None:
    from providers.adapters import all_adapters

    for adapter in all_adapters().values():
        for name, operation in adapter.operations.items():
            for model in operation.models:
                answer = admin_client.get(
                    ADD, {"provider": adapter.name, "operation": name, "model": model}
                )
                assert answer.status_code == 200
                assert list(answer.context["params_form"].form.fields)


# The page of a job


def test_the_timeline_has_each_attempt_with_its_account_why_and_the_errors(
    admin_client: Client, fake: Any, make_account: Any, ada: Profile
) -> None:
    make_account("1", priority=9)
    make_account("2")
    fake.script("submit", refuses(401, error("auth", "Bad <b>key</b> test-key-1.")))
    job = ask(ada)
    work(lambda: fake.requests["submit"] > 0)
    live = admin_client.get(reverse("admin:jobs_job_live", args=[job.pk])).json()
    assert live["live"] is True
    job = finish(job)

    answer = admin_client.get(reverse("admin:jobs_job_live", args=[job.pk])).json()
    html = answer["html"]
    assert answer["live"] is False
    timeline = [
        "2 credits held",
        "Attempt 1 through",
        "priority 9",
        "Failed",
        "auth",
        "Attempt 2 through",
        "Accepted after",
        "Succeeded",
        "2 credits taken",
        "Completed",
    ]
    places = [html.index(word) for word in timeline]
    assert places == sorted(places)
    assert "<b>key</b>" not in html
    assert "test-key" not in html


def test_the_page_of_a_waiting_job_says_why_it_waits(admin_client: Client, fake: Any) -> None:
    job = ask()
    assert "There is no account with simple" in admin_client.get(page_of(job)).content.decode()


def test_untrusted_text_is_shown_as_text(
    admin_client: Client, fake: Any, account: ProviderAccount
) -> None:
    evil = "<script>alert(1)</script>"
    fake.endings.append(Ending("failed", "filtered", evil))
    job = finish(ask(prompt=evil, name=evil))
    Job.objects.filter(pk=job.pk).update(error_message=evil)
    ProviderSubmission.objects.update(provider_job_id=evil, choice=evil, error_class=evil[:32])
    ProviderAccount.objects.update(nickname=evil, last_error=evil)
    submission = ProviderSubmission.objects.get()
    for url in (
        LIST,
        page_of(job),
        reverse("admin:providers_providersubmission_changelist"),
        reverse("admin:providers_providersubmission_change", args=[submission.pk]),
        reverse("admin:providers_provideraccount_changelist"),
        reverse("admin:providers_provideraccount_change", args=[account.pk]),
        reverse("admin:providers_status"),
    ):
        answer = admin_client.get(url)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.content.decode(), url


def test_an_asset_that_is_no_known_medium_is_never_run_by_the_browser(
    admin_client: Client, client: Client, fake: Any, account: ProviderAccount
) -> None:
    job = finish(ask())
    url = reverse("admin:jobs_asset_file", args=[job.asset_id, "whole"])
    Asset.objects.update(mime_type="text/html")
    answer = admin_client.get(url)
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"].startswith("attachment")
    for key in ("../../etc/passwd", "/etc/passwd", "", "ab/" + "ab" * 32 + ".png"):
        Asset.objects.update(local_path=key)
        assert admin_client.get(url).status_code == 404
    anybody = User.objects.create_user("anybody", is_staff=True)
    client.force_login(anybody)
    assert client.get(url).status_code == 403


def test_the_list_asks_as_often_for_many_jobs_as_for_few(
    admin_client: Client, ada: Profile, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        Job.objects.create(
            user=ada.user, owner=ada, provider_id="simple", operation_type="text_to_image",
            params={"prompt": f"number {number}"},
            asset=Asset.objects.create(
                user=ada.user, media_type="image", provider_id="simple", provider_asset_id=number,
                remote_url="", thumbnail_url="ab/" + "ab" * 32 + ".jpg", sha256=number,
            ),
        )  # fmt: skip
    with django_assert_max_num_queries(10):
        page = admin_client.get(LIST).content.decode()
    assert "number 7" in page
    assert admin_client.get(LIST, {"q": Job.objects.first().pk}).context["cl"].result_count == 1
    assert admin_client.get(LIST, {"q": "9" * 40}).context["cl"].result_count == 0


# Actions


def test_what_a_job_cost_that_may_have_been_charged_is_resolved_by_a_button(
    admin_client: Client, fake: Any, make_account: Any, ada: Profile, monkeypatch: Any
) -> None:
    monkeypatch.setattr(SimpleAdapter, "can_find", False)
    make_account(slots=3)
    fake.script("submit", *[DROPPED_AFTER] * 3)
    jobs = [ask(ada) for _ in range(3)]
    doubted = ProviderSubmission.objects.filter(status="unknown")
    work(lambda: doubted.count() == 3)
    doubted.update(deadline_at=timezone.now(), next_poll_at=timezone.now())
    finish(*jobs)
    assert credits.balance(ada) == 994
    page = admin_client.get(page_of(jobs[0])).content.decode()
    assert "Resolve: it was charged" in page
    listed = admin_client.get(LIST, {"cost": "undecided"}).context["cl"]
    assert listed.result_count == 3

    assert "1 job is resolved: charged" in act(admin_client, jobs[0], "resolve_charged")
    assert "1 job is resolved: not charged" in act(admin_client, jobs[1], "resolve_released")
    assert "is resolved already" in act(admin_client, jobs[1], "resolve_charged")
    data = {"action": "resolve_released", "_selected_action": [job.pk for job in jobs]}
    assert "1 job is resolved" in admin_client.post(LIST, data, follow=True).content.decode()
    assert credits.balance(ada) == 998
    assert credits.check().rows == []
    page = admin_client.get(page_of(jobs[1])).content.decode()
    assert "2 credits given back" in page
    assert "Resolve:" not in page
    assert "Charge resolved by admin@example.com, charged False" in page


def test_a_job_is_made_more_urgent_as_far_as_its_owners_tier_allows(
    admin_client: Client, ada: Profile
) -> None:
    job = ask(ada, priority=3)
    assert "1 job is now of priority 7." in act(admin_client, job, "change_priority", priority="7")
    assert "tier PRO" in act(admin_client, job, "change_priority", priority="10")
    for nonsense in ("", "11", "-1", "x", "９"):
        assert "Choose the priority" in act(admin_client, job, "change_priority", priority=nonsense)
    assert Job.objects.get().priority == 7

    services.cancel_job(job=job)
    assert "is cancelled already" in act(admin_client, job, "change_priority", priority="2")


def test_a_job_is_cancelled_and_started_anew_on_its_page(
    admin_client: Client, fake: Any, account: ProviderAccount
) -> None:
    job = ask()
    assert "1 job is cancelled." in act(admin_client, job, "cancel")
    assert "is cancelled already" in act(admin_client, job, "cancel")
    assert "1 job is started anew." in act(admin_client, job, "retry")
    assert finish(job).status == "completed"
    assert "started anew by hand once" in admin_client.get(page_of(job)).content.decode()


def test_who_may_only_look_sees_the_timeline_and_changes_nothing(
    client: Client, ada: Profile
) -> None:
    job = ask(ada)
    viewer = User.objects.create_user("viewer", is_staff=True)
    may = ["view_job", "others_work"]
    viewer.user_permissions.set(Permission.objects.filter(codename__in=may))
    client.force_login(viewer)
    page = client.get(page_of(job)).content.decode()
    assert "asked for by ada" in page
    assert "Cancel" not in page
    for action in ("cancel", "retry", "resolve_charged", "change_priority", "nothing"):
        url = reverse("admin:jobs_job_act", args=[job.pk, action])
        assert client.post(url, {"priority": "1"}).status_code == 403
        assert client.get(url).status_code == 405
    nobody = User.objects.create_user("nobody", is_staff=True)
    client.force_login(nobody)
    assert client.get(reverse("admin:jobs_job_live", args=[job.pk])).status_code == 403
    assert Job.objects.get().status == "pending"
