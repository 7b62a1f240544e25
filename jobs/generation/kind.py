"""Jobs as a kind of work: admitted by window, claimed with a slot, guarded by a submission."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import Q

from accounts import credits
from accounts.errors import AccountsError
from jobs import pricing, services
from jobs.errors import GenerationError
from jobs.generation import allocation, wait_reason
from jobs.generation.dispatcher import Dispatcher
from jobs.models import Job
from jobs.queue import api
from jobs.queue.items import WorkItem
from jobs.queue.kinds import Chore, Kind, Left, Options, Result, Tick
from pixsim.core.invariants import Invariant, read_invariants
from providers import credits as provider_credits
from providers import submissions, webhooks

GUARDED = """EXISTS (
    SELECT 1 FROM provider_submissions guard
    WHERE guard.job_id = item.id AND guard.reference IS NOT NULL
      AND (guard.status IN ('pending', 'accepted', 'unknown') OR guard.next_poll_at IS NOT NULL))"""

PARENT_IS_DONE = """NOT EXISTS (
    SELECT 1 FROM jobs parent WHERE parent.id = item.parent_job_id AND parent.status <> 'completed')"""

# The worker that was to send it died, or lost the job, before it recorded an outcome.
MARK_UNKNOWN = """
UPDATE provider_submissions SET
    status = 'unknown', error_class = 'unknown', next_poll_at = now(),
    error_message = 'The worker that sent it died before the answer was recorded.',
    deadline_at = now() + make_interval(secs => %(doubt)s)
WHERE id = ANY(ARRAY(
    SELECT submission.id FROM provider_submissions submission
    JOIN jobs job ON job.id = submission.job_id
    WHERE submission.status = 'pending' AND submission.reference IS NOT NULL
      AND (job.lease_id = submission.job_lease AND job.lease_expires_at < now()
           OR (job.lease_id IS DISTINCT FROM submission.job_lease OR job.status <> 'processing')
              AND submission.submitted_at < now() - make_interval(secs => %(patience)s))
    ORDER BY submission.id LIMIT 500 FOR UPDATE OF submission SKIP LOCKED))
  AND status = 'pending'
"""
DOUBT_SECONDS = 60.0
PATIENCE_SECONDS = 300.0
"""How long a worker whose job was cancelled may take to record the outcome of its call."""


INVARIANTS = read_invariants(
    Path(__file__).with_name("invariants.toml"), guarded=GUARDED, unresolved=pricing.UNRESOLVED
)


class GenerationKind(Kind):
    """Jobs: each is sent to a provider and polled, beside the worker loop."""

    name = "generation"
    model = Job
    is_driven = True
    owner_sql = "SELECT id FROM profiles WHERE profiles.user_id = item.user_id"
    runnable_sql = PARENT_IS_DONE
    reason_sql = "'It waits for its parent job ' || item.parent_job_id || '.'"
    # Not a job that was revived by hand while its last attempt is live. Counted, so that the
    # planner keeps the order of the claim.
    claimable_sql = """
        provider_id = %(provider)s AND (%(user)s::int IS NULL OR user_id = %(user)s::int)
        AND coalesce(model <> ALL(%(refused_models)s::text[]), TRUE)
        AND (SELECT count(*) FROM provider_submissions live
             WHERE live.job_id = jobs.id AND live.reference IS NOT NULL
               AND live.status IN ('pending', 'accepted', 'unknown')) = 0"""
    rescuable_sql = f"NOT {GUARDED}"

    def load(self) -> None:
        import jobs.generation.calling
        import jobs.generation.result_handling  # noqa: F401

    def any_ready(self) -> bool:
        return submissions.any_due() or bool(allocation.open_accounts())

    def drive(self) -> bool:
        return Dispatcher.shared(self).drive()

    def stop(self) -> None:
        Dispatcher.shared(self).stop()

    def record_left(self, cursor: CursorWrapper, left: Sequence[Left]) -> None:
        """Close the credits of ended jobs; free or fail the children that were held for them."""
        ended = {item.id: item.status for item in left if item.status in self.ended}
        if not ended:
            return
        priced = Q(pk__in=ended, estimate__isnull=False)
        waiting = Q(parent_job__in=ended, status="pending", params_hash__isnull=False)
        # By person, the order in which every transaction locks credits.
        found = Job.objects.filter(priced | waiting).defer("params").order_by("owner_id", "id")
        children = [job for job in found if job.pk not in ended]
        self._follow_up(children, ended)
        for job in found:
            if job.pk in ended:
                _close_hold(job)

    def _follow_up(self, children: Sequence[Job], ended: Mapping[int, str]) -> None:
        """Let the children of completed jobs wait for their time only; fail those of others."""
        done = [job for job in children if ended[job.parent_job_id or 0] == "completed"]
        if done:
            api.schedule(self, {job.pk: job.scheduled_at for job in done})
        for job in children:
            if job not in done:
                Job.objects.filter(pk=job.pk, status="pending").update(error_class="parent")
                reason = f"Its parent job {job.parent_job_id} made nothing it could use."
                api.end(self, [job.pk], status="failed", error=reason)

    def waits_for(self, item: WorkItem) -> str | None:
        return wait_reason.no_slot(cast(Job, item))

    def retry(self, ids: Sequence[int]) -> int:
        count = 0
        for job in Job.objects.filter(pk__in=ids).order_by("pk"):
            with suppress(GenerationError, AccountsError):
                services.retry_job(job=job)
                count += 1
        return count

    def repair(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(MARK_UNKNOWN, {"doubt": DOUBT_SECONDS, "patience": PATIENCE_SECONDS})

    def invariants(self) -> Sequence[Invariant]:
        return INVARIANTS

    def hot_tables(self) -> Sequence[str]:
        return (self.table, "provider_submissions")

    def chores(self) -> Sequence[Chore]:
        return (
            Chore("webhooks", _delete_webhooks),
            Chore("provider credits", _refresh_credits),
        )


def _delete_webhooks(options: Options, tick: Tick) -> Result:
    count = webhooks.delete_old_events(dry_run=options.dry_run)
    what = "would be deleted" if options.dry_run else "deleted"
    return Result(count, f"{count:,} events that cannot come again {what}")


def _refresh_credits(options: Options, tick: Tick) -> Result:
    accounts = provider_credits.refreshable()
    if options.dry_run:
        return Result(len(accounts), f"{len(accounts):,} accounts would be asked for")
    results = provider_credits.refresh(accounts)
    unknown = [one for one in results if isinstance(one, provider_credits.Unknown)]
    problem = "; ".join(f"{one.account}: {one.reason}" for one in unknown[:5])
    return Result(
        len(results) - len(unknown),
        f"of {len(results) - len(unknown):,} accounts learnt",
        problem=f"Not learnt of {len(unknown):,}: {problem}" if unknown else None,
    )


def _close_hold(job: Job) -> None:
    """Take what the job cost and release the rest."""
    reference = pricing.hold_reference(job)
    if job.status == "completed":
        credits.capture(reference=reference, actual=job.cost or 0)
    elif job.error_class != pricing.UNRESOLVED:
        credits.release(reference=reference)
