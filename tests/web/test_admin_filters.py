"""A list of the admin is filtered by what its page offers: hidden fields cannot be read by filters."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import models
from django.test import Client
from django.urls import reverse

from pixsim.core.admin.base import ModelAdmin

pytestmark = pytest.mark.django_db
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


def list_of(model: type[models.Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def hidden(model: type[models.Model], depth: int = 3) -> Iterator[str]:
    """Every path from a model to a field of its own or of a related model."""
    for field in model._meta.get_fields():
        yield field.name
        if field.related_model and depth > 1:
            yield from (f"{field.name}__{name}" for name in hidden(field.related_model, depth - 1))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.model_name)
def test_no_list_answers_a_question_about_what_its_page_does_not_filter(
    admin_client: Client, admin_user: User, rf: Any, model: type[models.Model]
) -> None:
    shown = admin.site._registry[model]
    request = rf.get("/")
    request.user = admin_user
    assert isinstance(shown, ModelAdmin)
    for name in hidden(model):
        for lookup in ("startswith", "regex", "gt", "contains", "in"):
            assert not shown.lookup_allowed(f"{name}__{lookup}", "a", request), name
    for field in model._meta.fields:
        answer = admin_client.get(list_of(model), {f"{field.name}__startswith": "a"})
        assert answer.status_code == 400, field.name


def test_the_hash_of_a_password_cannot_be_read_digit_by_digit(admin_client: Client) -> None:
    for name in ("password__startswith", "groups__user__password__startswith", "password__exact"):
        assert admin_client.get("/admin/auth/user/", {name: "pbkdf2"}).status_code == 400


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.model_name)
def test_every_choice_that_a_list_offers_can_be_chosen(
    admin_client: Client, rows: Any, model: type[models.Model]
) -> None:
    page = admin_client.get(list_of(model))
    assert page.status_code == 200
    for offered in page.context["cl"].filter_specs:
        for choice in offered.choices(page.context["cl"]):
            answer = admin_client.get(list_of(model) + choice["query_string"])
            assert answer.status_code == 200, choice


def test_our_own_links_to_a_list_work(admin_client: Client) -> None:
    for model, query in (
        ("jobs_workattempt", "kind=chunk&item_id=1"),
        ("crawler_image", "chunk__id__exact=1"),
        ("crawler_candidate", "chunk__id__exact=1"),
        ("providers_provideraccount", "provider_id=local"),
        ("crawler_jobchunk", "state=stuck"),
    ):
        assert (
            admin_client.get(f"{reverse(f'admin:{model}_changelist')}?{query}").status_code == 200
        )
