"""Models are data: families, dates, and what they mean for a job and for who lists them."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from jobs import services
from jobs.errors import GenerationRefused
from jobs.models import Job
from providers import model_dates
from providers.adapters import adapter_named
from providers.adapters.models import Dates
from providers.models import ProviderAccount
from tests.providers.adapters.openai_fake import OpenAIFake

pytestmark = pytest.mark.django_db(transaction=True)

TODAY = datetime.now(UTC).date()
DAY = timedelta(days=1)


@pytest.fixture
def openai(monkeypatch):
    adapter = adapter_named("openai")
    dates = {
        "gpt-image-1": Dates(shut_down=TODAY, successor="gpt-image-2"),
        "gpt-image-1.5": Dates(shut_down=TODAY + DAY, successor="gpt-image-2"),
        "gpt-image-2.5-flare": Dates(deprecated=TODAY),
    }
    monkeypatch.setattr(type(adapter), "dates", dates)
    return adapter


def ask(model: str, **params: object) -> Job:
    return services.create_job(
        owner=None, provider="openai", operation="text_to_image", model=model,
        params={"prompt": "a red panda", **params},
    )  # fmt: skip


@pytest.mark.parametrize("model", ["gpt-image-1", "gpt-image-1-2025-04-23"])
def test_a_model_that_was_shut_down_is_refused_with_its_successor(openai, model, settings) -> None:
    with pytest.raises(GenerationRefused) as refused:
        ask(model)
    assert "was shut" not in str(refused.value)
    assert refused.value.errors["model"].startswith(f"OpenAI shut {model} down on ")
    assert refused.value.errors["model"].endswith("; use gpt-image-2.")
    settings.PROVIDER_BASE_URLS = {"openai": "http://127.0.0.1:9/v1"}  # it may go on there
    assert ask(model).model == model


def test_what_is_coming_is_said_and_nothing_is_refused(openai) -> None:
    out, err = io.StringIO(), io.StringIO()
    words = ["--provider", "openai", "--operation", "text_to_image", "--model", "gpt-image-1.5"]
    call_command("generate", *words, "--param", "prompt=x", stdout=out, stderr=err)
    assert "is accepted" in out.getvalue()
    assert "Warning: OpenAI shuts gpt-image-1.5 down on " in err.getvalue()
    assert model_dates.warning(openai, "gpt-image-2.5-flare") == (
        "OpenAI calls gpt-image-2.5-flare deprecated, without a successor."
    )
    for model in ("gpt-image-2", "gpt-image-1-mini", "gpt-image-1"):
        assert model_dates.warning(openai, model) is None


@pytest.mark.parametrize(
    "model",
    ["gpt-image-2.6-flare", "gpt-image-2.6-sunburst", "gpt-image-2-2026-04-21", "gpt-image-3",
     "chatgpt-image-latest"],
)  # fmt: skip
def test_an_unknown_name_of_a_known_family_has_the_schema_of_the_family(model) -> None:
    assert ask(model, size="1536x864").model == model


def test_a_name_has_the_schema_of_its_nearest_family() -> None:
    ask("gpt-image-2.6-flare", quality="max")
    for model, params in (
        ("gpt-image-2-2026-04-21", {"quality": "max"}),
        ("gpt-image-1.5-2025-12-16", {"size": "1536x864"}),
    ):
        with pytest.raises(GenerationRefused, match=f"params.{next(iter(params))}"):
            ask(model, **params)
    for model in ("dall-e-9", "gpt-image-2 ", "gpt-image-2/../x", "gpt-image-" + "2" * 200):
        with pytest.raises(GenerationRefused, match="there is no"):
            ask(model)


def models(*words: str) -> str:
    out = io.StringIO()
    call_command("providers", "models", *words, stdout=out)
    return out.getvalue()


def test_the_models_of_a_provider_are_listed_with_their_dates(openai) -> None:
    text = models("openai")
    (line,) = [line for line in text.splitlines() if line.split()[:1] == ["gpt-image-1.5"]]
    assert str(TODAY + DAY) in line
    assert "gpt-image-2" in line
    assert "Any other name is taken that begins with: chatgpt-image-, gpt-image-" in text
    rows = {row["model"]: row for row in json.loads(models("openai", "--json"))["models"]}
    assert rows["gpt-image-1"]["shut_down"] == str(TODAY)


def test_a_provider_is_asked_what_it_offers_now(settings) -> None:
    with OpenAIFake() as server:
        settings.PROVIDER_BASE_URLS = {"openai": server.base_url}
        with pytest.raises(CommandError, match="there is no account that works at openai"):
            models("openai", "--refresh")
        account = ProviderAccount.objects.create(
            provider_id="openai", email="a@example.org", api_key="test-key-1"
        )
        rows = json.loads(models("openai", "--refresh", "--json"))["models"]
        offered = {row["model"] for row in rows if row["is_offered_now"]}
        assert "gpt-image-2-2026-04-21" in offered  # a snapshot that is named nowhere here
        server.expired.add("test-key-1")
        with pytest.raises(CommandError, match="cannot be asked: "):
            models("openai", "--refresh", "--account", str(account.pk))
    for words, said in (
        (("replicate", "--refresh"), "Replicate cannot be asked for its models"),
        (("openai", "--account", "1"), "only with --refresh"),
        (("openia",), "Did you mean openai"),
    ):
        with pytest.raises(CommandError, match=said):
            models(*words)
