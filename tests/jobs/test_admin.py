"""What people who look after generation jobs see and do."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from jobs.models import Job
from tests.admin_forms import agreed

pytestmark = pytest.mark.django_db
JOBS = "/admin/jobs/job/"


@pytest.fixture
def held(django_user_model: type[User]) -> list[Job]:
    """Three pending jobs that are held, one that is not, and one that failed meanwhile."""
    user = User.objects.create_user("old")
    fields = {
        "user": user,
        "operation_type": "text_to_image",
        "provider_id": "local",
        "params": {"prompt": "a red panda"},
    }
    for _ in range(3):
        Job.objects.create(held=True, **fields)
    Job.objects.create(**fields)
    Job.objects.create(held=True, status="failed", **fields)
    return list(Job.objects.order_by("pk"))


def resume(client: Client, jobs: list[Job], path: str = JOBS, **more: str) -> str:
    answer = client.post(
        path,
        {"action": "resume", "_selected_action": [job.pk for job in jobs], **more},
        follow=True,
    )
    assert answer.status_code == 200
    return answer.content.decode()


def held_now() -> list[bool]:
    return list(Job.objects.order_by("pk").values_list("held", flat=True))


def test_adopted_jobs_are_resumed_by_hand_and_once(admin_client: Client, held: list[Job]) -> None:
    assert "1 resumed" in resume(admin_client, held[:1])
    assert "0 resumed" in resume(admin_client, held[:1])
    assert held_now() == [False, True, True, False, True]

    page = resume(admin_client, held[:1], f"{JOBS}?held__exact=1&q=old", select_across="1")
    assert "2 resumed, the others were not held." in page
    assert held_now() == [False, False, False, False, True]


def test_who_may_only_look_at_jobs_cannot_resume_them(client: Client, held: list[Job]) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_job"))
    client.force_login(viewer)
    assert "Resume adopted jobs" not in client.get(JOBS).content.decode()
    resume(client, held)
    assert held_now() == [True, True, True, False, True]


def test_failed_jobs_are_tried_again_from_the_beginning(
    admin_client: Client, held: list[Job]
) -> None:
    failed = held[-1]
    values = {"error_message": "left running", "completed_at": failed.created_at, "retry_count": 3}
    Job.objects.filter(pk=failed.pk).update(**values)

    data = {"action": "retry", "_selected_action": [failed.pk, held[0].pk]}
    page = admin_client.post(JOBS, data, follow=True).content.decode()

    assert "1 job is started anew." in page
    assert f"Job {held[0].pk} is pending. Nothing was changed." in page
    job = Job.objects.get(pk=failed.pk)
    assert (job.status, job.held, job.retry_count) == ("pending", False, 0)
    assert (job.error_message, job.completed_at) == (None, None)
    assert Job.objects.get(pk=held[0].pk).held


def test_jobs_are_cancelled_by_hand(admin_client: Client, held: list[Job]) -> None:
    data = {"action": "cancel", "_selected_action": [held[0].pk, held[-1].pk]}
    page = agreed(admin_client, JOBS, data).content.decode()
    assert "1 job is cancelled." in page
    assert "is failed already" in page
    assert Job.objects.get(pk=held[0].pk).status == "cancelled"
