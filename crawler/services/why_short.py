"""Why a crawl job ends with fewer images than it was asked for, in one sentence.

The sentence is made when the job ends and stored as its `error_message`: command line, admin and API
show that.
"""

from django.db.models import Count, Q, Sum

from crawler.models import CrawlJob, JobStatus, Outcome
from jobs.queue.items import Status

MAX_DETAIL = 300

WORDS = {
    Outcome.STORED: "stored",
    Outcome.DUPLICATE_URL: "named before",
    Outcome.DUPLICATE: "equal to another picture",
    Outcome.NEAR_DUPLICATE: "similar to another picture",
    Outcome.ROBOTS: "closed by robots.txt",
    Outcome.OPTED_OUT: "closed to datasets by their site",
    Outcome.UNREADABLE_FILE: "not readable on this machine",
    Outcome.HTTP_4XX: "missing or refused at their server",
    Outcome.HTTP_5XX: "failed at their server",
    Outcome.THROTTLED: "put off by their server",
    Outcome.DNS: "at an unknown host",
    Outcome.CONNECT: "at a host that does not answer",
    Outcome.BAD_ANSWER: "answered with what is no sound answer",
    Outcome.TLS: "at a host without a valid certificate",
    Outcome.TIMEOUT: "not answered in time",
    Outcome.TOO_SLOW: "sent too slowly",
    Outcome.BLOCKED_ADDRESS: "at a forbidden address",
    Outcome.BAD_URL: "at or redirected to an unusable address",
    Outcome.TOO_MANY_REDIRECTS: "redirected too often",
    Outcome.NOT_AN_IMAGE: "no picture",
    Outcome.BAD_FORMAT: "of a format that is not allowed",
    Outcome.TRUNCATED: "cut off",
    Outcome.CORRUPT: "damaged",
    Outcome.TOO_SMALL: "too small",
    Outcome.TOO_MANY_PIXELS: "of too many pixels",
    Outcome.TOO_LARGE: "too large",
    Outcome.ASPECT: "too long for their width",
    Outcome.LICENCE: "without an allowed licence",
    Outcome.TOO_COSTLY: "too costly to decode",
    Outcome.DECODER_CRASH: "fatal to the decoder",
    Outcome.INTERNAL_ERROR: "refused by an error of PixSim",
    Outcome.HOST_REFUSED: "left out with their host, whose pictures ended the decoder",
    Outcome.HOST_DOWN: "not sent, since their host did not answer",
    Outcome.SURPLUS: "not tried",
}


def why_short(job: CrawlJob) -> str | None:
    """Return why the job has ended short, or what failed although it has all its images, else None."""
    if job.status == JobStatus.CANCELLED:
        ended = job.completed_chunks + job.failed_chunks
        return (
            f"It was cancelled when {job.valid_images:,} of {job.max_images:,} images were stored and "
            f"{ended:,} of {_number(job.total_chunks, 'chunk')} had ended."
        )
    if job.is_open:
        return None
    failures = _failures(job)
    if not job.ended_short:
        return f"It is complete, but {' and '.join(failures)}." if failures else None
    causes = [*failures, *_named(job)] if job.total_images or not failures else failures
    return f"It ended short because {', and '.join(causes)}."


def _failures(job: CrawlJob) -> list[str]:
    """Return what of the job failed: sources, entries of sources, chunks."""
    sources = job.sources.order_by("id")
    counted = sources.aggregate(
        all=Count("id"), failed=Count("id", Q(status=Status.FAILED)), rejected=Sum("rejected")
    )
    found: list[str] = []
    if failed := sources.filter(status=Status.FAILED).first():
        whose = f"{counted['failed']:,} of its {_number(counted['all'], 'source')}"
        whose = "its source" if counted["all"] == 1 else whose
        how = "to the end " if failed.found else ""
        found.append(f"{whose} could not be read {how}({_detail(failed.error_message)})")
    if job.failed_chunks and (job.total_images or not failed):
        chunk = job.chunks.filter(status=Status.FAILED).order_by("id").first()
        detail = _detail(chunk.error_message if chunk else None)
        whose = f"{job.failed_chunks:,} of {_number(job.total_chunks, 'chunk')}"
        found.append(f"{whose} failed ({detail})")
    if counted["rejected"] and job.ended_short:
        rejection = sources.exclude(rejection=None)[0].last_rejection
        entries = "1 entry" if counted["rejected"] == 1 else f"{counted['rejected']:,} entries"
        found.append(f"{entries} of its sources could not be read ({_detail(rejection)})")
    return found


def _named(job: CrawlJob) -> list[str]:
    """Return what became of the addresses that the job's sources named."""
    sources = job.sources.count()
    if not sources:
        return ["it has no source"]
    whose = "its source" if sources == 1 else f"its {sources:,} sources"
    if not job.total_images:
        return [f"{whose} named no picture"]
    known = [
        (name, count)
        for name, count in job.outcomes.items()
        if name in WORDS and name not in (Outcome.DUPLICATE_URL, Outcome.SURPLUS) and count
    ]
    untried = job.total_images - sum(count for _, count in known)
    known.sort(key=lambda counted: (-counted[1], counted[0]))
    known += [(Outcome.SURPLUS, untried)] if untried > 0 else []
    parts = [
        f"{count:,} {WORDS[Outcome(name)]}" + ("" if name == Outcome.STORED else f" ({name})")
        for name, count in known
    ]
    addresses = "1 address" if job.total_images == 1 else f"{job.total_images:,} addresses"
    if untried <= 0 and job.total_images >= job.max_images:
        named = f"of the {addresses} that {whose} named too few became images"
    else:
        named = f"{whose} named {'' if untried > 0 else 'only '}{addresses}"
    return [f"{named}: {', '.join(parts)}"]


def _number(count: int, of: str) -> str:
    return f"{count:,} {of}" if count == 1 else f"{count:,} {of}s"


def _detail(message: str | None) -> str:
    line = (message or "no reason is recorded").strip().partition("\n")[0].rstrip(".")
    return line if len(line) <= MAX_DETAIL else line[: MAX_DETAIL - 1] + "…"
