"""Use cases of generation: create, cancel, retry and reprioritise a job, resolve its charge."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts import credits, tiers
from accounts.activity import record_change
from accounts.models import Profile
from accounts.visibility import SYSTEM_USERNAME
from jobs import pricing
from jobs.errors import BadOutput, GenerationRefused, WrongState
from jobs.generation import files, inputs
from jobs.models import ENDED, Asset, Job, JobStatus, Workspace
from jobs.queue import api
from jobs.queue.kinds import Kind, kind_named
from pixsim.core.media import Unavailable
from pixsim.core.priority import check_priority
from pixsim.core.text import unfit
from providers import model_dates, slots
from providers.adapters import Adapter, UnknownProvider, adapter_named
from providers.adapters.params import Params, ParamsRefused, validated
from providers.models import IS_LIVE

logger = logging.getLogger(__name__)

MAX_UPLOAD_BYTES = 256 * 1024**2


def create_job(
    *,
    owner: Profile | None,
    provider: str,
    operation: str,
    params: Mapping[str, Any],
    files: Mapping[str, str] = {},
    model: str | None = None,
    priority: int | None = None,
    scheduled_at: datetime | None = None,
    parent: Job | None = None,
    workspace: Workspace | None = None,
    name: str | None = None,
    idempotency_key: str | None = None,
    actor: Profile | None = None,
) -> Job:
    """Create a job within the owner's limits, hold its credits, and notify workers.

    `files` are inputs by the names of their parameters, such as `asset:ID`.
    Return the job that the owner created before with this `idempotency_key`, if there is one.
    `owner` None is the system, which has no limits and pays nothing.

    Raise GenerationRefused, naming each field, FeatureRefused, LimitExceeded,
    InsufficientCredits or MonthlyLimitReached; nothing is created then.
    """
    adapter, model, checked = _validate(provider, operation, model, params, files)
    _check_texts(model=model, name=name, idempotency_key=idempotency_key)
    _check_time(scheduled_at)
    if priority is None:
        priority = tiers.default_priority(owner)
    _check_priority(priority)
    user = _user_of(owner)
    _check_parent(parent, user)
    if workspace is not None and workspace.user_id != user.pk:
        raise GenerationRefused({"workspace": f"there is no workspace {workspace.pk}."})
    try:
        inputs.check(type(checked), checked.canonical(), user=user, has_parent=parent is not None)
    except inputs.BadInput as error:
        raise GenerationRefused({f"params.{error.field}": error.message}) from error
    with transaction.atomic():
        _check_limits(owner, priority=priority, scheduled_at=scheduled_at)
        if idempotency_key:  # else two at once would make two
            User.objects.select_for_update(no_key=True).get(pk=user.pk)
        asked = (provider, operation, model, checked.digest(), parent and parent.pk)
        if known := _known(user, idempotency_key, asked):
            return known
        if adapter.credential is None:
            slots.ensure_keyless_account(adapter, slots=settings.LOCAL_SLOTS)
        job = Job.objects.create(
            user=user,
            owner=owner,
            provider_id=provider,
            operation_type=operation,
            model=model,
            params=checked.given(),
            params_hash=checked.digest(),
            scheduled_at=scheduled_at,
            parent_job=parent,
            workspace=workspace,
            name=name,
            idempotency_key=idempotency_key,
            estimate=pricing.estimate(owner, adapter, operation, checked.canonical()),
        )
        record_change("job", job.pk, "created", actor=actor)
        _begin(job, priority=priority)
    job.refresh_from_db()
    return job


def upload_asset(
    *, owner: Profile | None, data: bytes, name: str, actor: Profile | None = None
) -> Asset:
    """Store a person's file as their asset, which jobs take as the input `asset:ID`.

    The same bytes are one asset. Raise GenerationRefused if it is no medium that we know, or cannot
    be decoded.
    """
    if len(data) > MAX_UPLOAD_BYTES:
        raise GenerationRefused({"file": f"{name} has more than {MAX_UPLOAD_BYTES // 2**20} MiB."})
    user = _user_of(owner)
    try:
        kept = files.keep_upload(data)
    except BadOutput as error:
        raise GenerationRefused({"file": f"{name}: {error}"}) from error
    except Unavailable as error:
        logger.error("An upload cannot be decoded: %s", error)
        text = f"{name}: files cannot be decoded at the moment. Try again later."
        raise GenerationRefused({"file": text}) from error
    asset = files.record_upload(kept, user_id=user.pk, name=name)
    record_change("asset", asset.pk, "uploaded", actor=actor, name=name[:200])
    return asset


def cancel_job(*, job: Job, actor: Profile | None = None) -> None:
    """Cancel a job that has not ended, and give its credits back.

    The provider is asked to stop, where it can; the slot is free when the provider has ended, and
    what it still makes is not kept. Raise WrongState, and change nothing, if the job has ended.
    """
    with transaction.atomic():
        Job.objects.filter(pk=job.pk).exclude(status__in=ENDED).update(error_class=None)
        if not api.end(_kind(), [job.pk], status=JobStatus.CANCELLED, error="Cancelled."):
            job.refresh_from_db()
            raise WrongState(f"Job {job.pk} is {job.status} already. Nothing was changed.")
        # The provider is asked to stop at the next poll.
        job.submissions.filter(status="accepted", next_poll_at__isnull=False).update(
            next_poll_at=timezone.now()
        )
        record_change("job", job.pk, "cancelled", actor=actor)


def retry_job(*, job: Job, actor: Profile | None = None) -> None:
    """Start a failed or cancelled job anew, with the params that it has.

    Raise WrongState if it is in another state, if its charge is unresolved, or if the provider is
    still working on it.
    """
    with transaction.atomic():
        job = Job.objects.select_for_update(no_key=True, of=("self",)).get(pk=job.pk)
        if job.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
            raise WrongState(f"Job {job.pk} is {job.status}. Nothing was changed.")
        if job.error_class == pricing.UNRESOLVED:
            raise WrongState(
                f"Job {job.pk} may have been charged for. Resolve that first: "
                f"`manage.py job {job.pk} resolve --charge` or `--release`."
            )
        if job.submissions.filter(IS_LIVE).exists():
            raise WrongState(
                f"The provider is still at work on job {job.pk}. Try again when it has ended there."
            )
        adapter, model, checked = _validate(
            job.provider_id, job.operation_type, job.model, job.params
        )
        _check_limits(job.owner, priority=job.priority, scheduled_at=job.scheduled_at)
        job.model, job.params, job.params_hash = model, checked.given(), checked.digest()
        job.run, job.error_class, job.cost = job.run + 1, None, None
        job.estimate = pricing.estimate(job.owner, adapter, job.operation_type, checked.canonical())
        changed = ("model", "params", "params_hash", "run", "error_class", "cost", "estimate")
        job.save(update_fields=[*changed, "updated_at"])
        api.requeue(_kind(), [job.pk], statuses=(JobStatus.FAILED, JobStatus.CANCELLED))
        record_change("job", job.pk, "retried", actor=actor)
        _begin(job, priority=job.priority)


def change_priority(*, job: Job, priority: int, actor: Profile | None = None) -> None:
    """Change the priority of a job that has not ended.

    Raise GenerationRefused or LimitExceeded for a priority that it may not have, WrongState if it
    has ended.
    """
    _check_priority(priority)
    with transaction.atomic():
        if job.owner is not None:
            tiers.require(job.owner, "highest_priority", 0, priority)
        if not api.reprioritise(_kind(), [job.pk], priority=priority):
            job.refresh_from_db()
            if job.status in ENDED:
                raise WrongState(f"Job {job.pk} is {job.status} already. Nothing was changed.")
        record_change("job", job.pk, "priority_changed", actor=actor, priority=priority)


def resume_adopted_jobs(*, jobs: QuerySet[Job], actor: Profile | None = None) -> int:
    """Let those of the jobs run that an older system left pending; return how many."""
    with transaction.atomic():
        held = jobs.filter(status=JobStatus.PENDING, held=True, params_hash=None)
        resumed = list(held.select_for_update(no_key=True).order_by("pk"))
        api.requeue(_kind(), [job.pk for job in resumed], statuses=(), held=True)
        for job in resumed:
            record_change("job", job.pk, "resumed", actor=actor)
    return len(resumed)


def resolve_charge(*, job: Job, charge: bool, actor: Profile | None = None) -> None:
    """Take the credits held for a job with an unresolved charge, or give them back.

    Raise WrongState if its charge is resolved.
    """
    with transaction.atomic():
        decided = Job.objects.filter(pk=job.pk, error_class=pricing.UNRESOLVED).update(
            error_class="charged" if charge else "released", updated_at=timezone.now()
        )
        if not decided:
            raise WrongState(
                f"The charge of job {job.pk} is resolved already. Nothing was changed."
            )
        reference = pricing.hold_reference(Job.objects.get(pk=job.pk))
        if charge:
            taken = credits.capture(reference=reference, actual=job.estimate or 0)
            Job.objects.filter(pk=job.pk).update(cost=taken)
        else:
            credits.release(reference=reference)
        record_change("job", job.pk, "charge_resolved", actor=actor, charged=charge)


def system_user() -> User:
    """Return the user of the system's own jobs. Nobody can log in as this user."""
    user, _ = User.objects.get_or_create(
        username=SYSTEM_USERNAME, defaults={"is_active": False, "password": "!"}
    )
    return user


def _validate(
    provider: str,
    operation: str,
    model: str | None,
    params: Mapping[str, Any],
    files: Mapping[str, str] = {},
) -> tuple[Adapter, str, Params]:
    """Return adapter, model and checked params. Raise GenerationRefused, naming each field."""
    try:
        adapter = adapter_named(provider)
    except UnknownProvider as error:
        raise GenerationRefused({"provider": str(error)}) from error
    offered = adapter.operations.get(operation)
    if offered is None:
        known = ", ".join(adapter.operations)
        raise GenerationRefused({"operation": f"{provider} has no {operation!r}; it has: {known}."})
    model = model or offered.default_model
    if model not in offered.models:
        known = ", ".join(offered.models)
        raise GenerationRefused({"model": f"there is no {model!r}; there is: {known}."})
    if why := model_dates.refusal(adapter, model):
        raise GenerationRefused({"model": why})
    try:
        schema = offered.models[model]
        return adapter, model, validated(schema, inputs.placed(schema, params, files))
    except ParamsRefused as refused:
        errors = {f"params.{name}": text for name, text in refused.errors.items()}
        raise GenerationRefused(errors) from refused


def _check_texts(**texts: str | None) -> None:
    """Raise GenerationRefused for texts that their columns do not hold."""
    errors = {}
    for field, text in texts.items():
        longest = getattr(Job._meta.get_field(field), "max_length", 0)
        if why := unfit(text or "", longest):
            errors[field] = f"{why}."
    if errors:
        raise GenerationRefused(errors)


def _check_priority(priority: int) -> None:
    try:
        check_priority(priority)
    except ValueError as error:
        raise GenerationRefused({"priority": str(error)}) from error


def _check_time(moment: datetime | None) -> None:
    """Raise GenerationRefused for a time that could be stored, but not be read in UTC."""
    try:
        if moment is not None:
            moment.astimezone(UTC)
    except OverflowError as error:
        text = f"{moment} lies outside the years 1 to 9999."
        raise GenerationRefused({"scheduled_at": text}) from error


def _check_parent(parent: Job | None, user: User) -> None:
    if parent is None:
        return
    if parent.user_id != user.pk:
        raise GenerationRefused({"parent": f"there is no job {parent.pk}."})
    if parent.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise GenerationRefused({"parent": f"job {parent.pk} is {parent.status}: it made nothing."})


def _check_limits(owner: Profile | None, *, priority: int, scheduled_at: datetime | None) -> None:
    """Lock the owner's row and check the tier. Raise FeatureRefused or LimitExceeded."""
    if owner is None:
        return
    owner = Profile.objects.select_for_update(no_key=True).get(pk=owner.pk)
    tiers.require_feature(owner, "generate")
    if _is_early(scheduled_at):
        tiers.require_feature(owner, "schedule")
    tiers.require(owner, "highest_priority", 0, priority)
    today = datetime.combine(datetime.now(UTC).date(), time(), tzinfo=UTC)
    tiers.require(
        owner,
        "jobs_per_day",
        Job.objects.filter(user__profile=owner, created_at__gte=today).count(),
        resets_at=today + timedelta(days=1),
    )


def _known(user: User, key: str | None, asked: tuple[object, ...]) -> Job | None:
    """Return the job of this key. Raise GenerationRefused if that job asks for something else."""
    job: Job | None = Job.objects.filter(user=user, idempotency_key=key).first() if key else None
    if job is None:
        return None
    made = (job.provider_id, job.operation_type, job.model, job.params_hash, job.parent_job_id)
    if made != asked:
        text = f"it made job {job.pk}, which asks for something else."
        raise GenerationRefused({"idempotency_key": text})
    return job


def _begin(job: Job, *, priority: int) -> None:
    """Hold what the job may cost, and admit it to its owner's window at its time."""
    if job.estimate is not None and job.owner is not None:
        credits.hold(
            profile=job.owner,
            amount=job.estimate,
            description=f"{job.operation_type} by {job.provider_id}",
            reference=pricing.hold_reference(job),
        )
    parent = job.parent_job
    waits = parent is not None and parent.status != JobStatus.COMPLETED
    is_early = _is_early(job.scheduled_at)
    api.start(
        _kind(),
        [job.pk],
        priority=priority,
        owner=job.owner_id,
        held=waits or is_early,
        at=job.scheduled_at if is_early and not waits else None,
        reason=f"It waits for its parent job {job.parent_job_id}." if waits else None,
    )


def _is_early(scheduled_at: datetime | None) -> bool:
    """Return whether a job waits for its time; a time that has passed delays nothing."""
    return scheduled_at is not None and scheduled_at > timezone.now()


def _user_of(owner: Profile | None) -> User:
    if owner is None:
        return system_user()
    if owner.user is None:
        raise GenerationRefused({"owner": "the profile has no user who could own what is made."})
    return owner.user


def _kind() -> Kind:
    return kind_named("generation")
