"""Projects: adding and changing them."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts import activity, tiers
from accounts.models import Profile
from crawler.errors import WrongState
from crawler.labels import check_name
from crawler.models import Project
from crawler.services.limits import lock_owner

DEFAULT_PROJECT = "Command line"
"""The project of an owner's crawl jobs that name none."""


def create_project(
    *,
    owner: Profile | None,
    name: str,
    description: str | None = None,
    actor: Profile | None = None,
) -> Project:
    """Create a project.

    Raise JobRefused for a name that is too long, LimitExceeded if the owner's tier allows no more.
    """
    check_name(name)
    with transaction.atomic():
        owner = lock_owner(owner)
        tiers.require(owner, "projects", Project.objects.filter(owner=owner).count())
        project = Project.objects.create(owner=owner, name=name, description=description)
        activity.record_change("project", project.pk, "created", actor=actor)
    return project


def project_named(
    *, owner: Profile | None, name: str = DEFAULT_PROJECT, actor: Profile | None = None
) -> Project:
    """Return the owner's project of that name, created if there is none.

    Raise LimitExceeded if the owner's tier allows no more projects.
    """
    check_name(name, field="project")
    with transaction.atomic():
        lock_owner(owner)  # so that two requests do not create two
        project = Project.objects.filter(owner=owner, name=name).order_by("id").first()
        return project or create_project(owner=owner, name=name, actor=actor)


def change_project(
    *,
    project_id: int,
    changes: Mapping[str, Any],
    shown: Mapping[str, Any],
    actor: Profile | None = None,
) -> None:
    """Change a project's name or description. Its owner stays: queued work carries the owner.

    Raise WrongState if a field no longer has the value that was shown.
    """
    if not changes:
        return
    check_name(changes.get("name", ""))
    if unknown := set(changes) - {"name", "description"}:
        raise ValueError(f"A project's {', '.join(sorted(unknown))} cannot be changed.")
    with transaction.atomic():
        same = Project.objects.filter(pk=project_id, **shown)
        if not same.update(**changes, updated_at=timezone.now()):
            raise WrongState(f"Project {project_id} has changed meanwhile. Nothing was changed.")
        activity.record_change(
            "project", project_id, "changed", actor=actor, fields=sorted(changes)
        )
