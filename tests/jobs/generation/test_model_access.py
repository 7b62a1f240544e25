"""A model that an account may not use is refused for that account and model, and for nothing else."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import services
from jobs.generation.wait_reason import reason
from jobs.models import Job
from providers import model_access
from providers.adapters import adapter_named
from providers.adapters.models import Dates
from providers.models import ModelRefusal, ProviderAccount
from providers.services import enable_account
from tests.jobs.generation.conftest import finish, work
from tests.providers.adapters.fake import refuses
from tests.providers.adapters.openai_fake import OpenAIFake, error

pytestmark = pytest.mark.django_db(transaction=True)

VERIFY = "Your organization must be verified to use the model `gpt-image-2`. Please go to Settings."
FORBIDDEN = refuses(403, error("invalid_request_error", None, VERIFY))


@pytest.fixture
def openai(settings, blob_folder) -> Iterator[OpenAIFake]:
    with OpenAIFake() as server:
        settings.PROVIDER_BASE_URLS = {"openai": server.base_url}
        yield server


def account(number: int, **values: object) -> ProviderAccount:
    return ProviderAccount.objects.create(
        provider_id="openai", email=f"{number}@example.org", api_key=f"test-key-{number}", **values
    )


def ask(model: str = "gpt-image-2") -> Job:
    return services.create_job(
        owner=None, provider="openai", operation="text_to_image", model=model,
        params={"prompt": "a red panda"},
    )  # fmt: skip


def served_by(job: Job) -> list[int]:
    return list(job.submissions.order_by("id").values_list("account_id", flat=True))


def test_another_account_is_tried_and_the_first_goes_on_with_other_models(openai) -> None:
    first, second = account(1, priority=9), account(2)
    openai.script("submit", FORBIDDEN)

    refused, later, other = finish(ask()), finish(ask()), finish(ask("gpt-image-2.5-flare"))

    assert (refused.status, served_by(refused)) == ("completed", [first.pk, second.pk])
    assert (later.status, served_by(later)) == ("completed", [second.pk])
    assert (other.status, served_by(other)) == ("completed", [first.pk])
    first.refresh_from_db()
    assert first.status == "active"
    ModelRefusal.objects.update(refused_at=timezone.now() - timedelta(days=2), model="older")
    openai.script("submit", FORBIDDEN)
    assert finish(ask()).status == "completed"
    refusal = ModelRefusal.objects.get()
    assert (refusal.account, refusal.model) == (first, "gpt-image-2")
    assert VERIFY in refusal.message


def test_when_no_account_may_the_job_fails_and_says_why(openai) -> None:
    account(1)
    account(2)
    openai.script("submit", FORBIDDEN, FORBIDDEN)

    job = finish(ask())

    assert (job.status, job.error_class) == ("failed", "model_access")
    assert "must be verified" in job.error_message
    waits = ask()
    assert "may not use this model" in (reason(waits) or "")
    assert finish(ask("gpt-image-2.5-flare")).status == "completed"


@pytest.mark.parametrize("again", ["enabled", "a day later"])
def test_it_is_tried_again(openai, again) -> None:
    only = account(1)
    openai.script("submit", FORBIDDEN)
    assert finish(ask()).status == "failed"
    job = ask()
    if again == "enabled":
        enable_account(account=only)
    else:
        ModelRefusal.objects.update(refused_at=timezone.now() - timedelta(days=1, minutes=1))
    assert model_access.is_left_to_try(provider="openai", model="gpt-image-2", user_id=job.user_id)
    work(lambda: Job.objects.get(pk=job.pk).status == "completed")


def test_a_model_that_is_shut_down_while_its_job_waits_costs_nothing(openai, monkeypatch) -> None:
    """At the published address; its fake stands there for this test."""
    account(1)
    adapter = adapter_named("openai")
    monkeypatch.setattr(type(adapter), "base_url", openai.base_url)
    job = ask()
    dates = {"gpt-image-2": Dates(shut_down=timezone.now().date(), successor="gpt-image-3")}
    monkeypatch.setattr(type(adapter), "dates", dates)

    job = finish(job)

    assert (job.status, job.error_class) == ("failed", "invalid_parameter")
    assert "use gpt-image-3" in job.error_message
    assert openai.requests["submit"] == 0
