"""Takes the screenshots of the admin in docs/images, from a real crawl of the demo's web site and
real generations, by this machine and by a provider of the tests.

    python docs/screenshots.py [--dark] [--only crawling|generating] [FOLDER]

Needs chromium and chromedriver on the PATH, and may create a test database beside that of DATABASE_URL.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
from aiohttp import web

PROJECT = Path(__file__).resolve().parent.parent
HOME = tempfile.TemporaryDirectory()
sys.path.insert(0, str(PROJECT))
os.environ["DJANGO_SETTINGS_MODULE"] = "demo.settings"
os.environ["PIXSIM_BLOBS"] = f"{HOME.name}/blobs"
os.environ.setdefault("LOG_LEVEL", "ERROR")
django.setup()

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import connection, connections
from django.test import Client
from django.test.testcases import LiveServerThread
from django.test.utils import setup_databases, teardown_databases
from django.urls import reverse
from django.utils import timezone

from accounts import credits
from accounts.models import Profile
from accounts.services import change_tier
from crawler.models import CrawlJob, JobChunk
from crawler.services import accepting, lifecycle
from demo.processes import announced_by, running
from jobs import services
from jobs.models import Job
from jobs.queue import api
from jobs.queue.kinds import kind_named
from jobs.queue.worker import loop, registry
from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.sweeper import Sweeper
from providers.adapters import adapter_named
from providers.adapters.local import rendering
from providers.models import ProviderAccount, ProviderCredit, ProviderSubmission
from tests.providers.adapters.fake import DOWN, Ending, refuses
from tests.providers.adapters.replicate_fake import THROTTLED, ReplicateFake
from tests.web import browser
from tests.web.browser import Browser

WORK_SECONDS = 180
PICTURES_ARE_THERE = """
const done = arguments[arguments.length - 1];
for (const each of document.images) each.loading = "eager";
const look = () => [...document.images].every((each) => each.complete) ? done(true) : setTimeout(look, 50);
look();
"""

TASK = "5b0d9a0e-6f0b-4b6e-9a53-1f8d2c7e4a10"
PLACES = ("a harbour in fog", "a forest in spring", "mountains at dawn", "a desert at night")

# What is done within a minute here takes an hour in life, and looks so in the charts.
SPREAD = """
WITH moved AS (
    SELECT id, make_interval(secs => 3400 * power(random(), 1.3)) AS back FROM {table}
    WHERE {moment} IS NOT NULL
)
UPDATE {table} SET {set} FROM moved WHERE moved.id = {table}.id
"""
SPREAD_SUBMISSIONS = """
WITH moved AS (
    SELECT id, now() - make_interval(secs => 30 + 3500 * random()) AS ended,
           6 + 30 * random() + 240 * power(random(), 3) AS seconds
    FROM provider_submissions WHERE responded_at IS NOT NULL AND job_id <> %s
)
UPDATE provider_submissions SET
    responded_at = ended, submitted_at = ended - make_interval(secs => seconds),
    accepted_at = CASE WHEN accepted_at IS NOT NULL
        THEN ended - make_interval(secs => seconds - 0.2 - 0.9 * random()) END,
    duration_ms = (seconds * 1000)::int
FROM moved WHERE moved.id = provider_submissions.id
"""

WIDTH, PHONE_WIDTH = 1500, 390


@dataclass(frozen=True)
class View:
    """A page, and how much of it is shown."""

    path: str
    height: int
    width: int = WIDTH
    dark: bool = False


Pages = dict[str, View]


def main() -> None:
    parser = argparse.ArgumentParser(description="Takes the screenshots of the admin.")
    parser.add_argument("folder", nargs="?", type=Path, default=PROJECT / "docs" / "images")
    parser.add_argument("--dark", action="store_true", help="as dark pages")
    parser.add_argument("--only", choices=["crawling", "generating"], help="not the other pages")
    arguments = parser.parse_args()
    if not browser.is_there():
        sys.exit("chromium and chromedriver must be on the PATH.")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with demo_site() as about, test_database(), a_sweeper(), admin_site() as url:
        # At once: generating goes on with what the crawls have left.
        for part, make in (("crawling", crawl_pages), ("generating", generation_pages)):
            pages = make(about) if arguments.only in (None, part) else {}
            for name, view in pages.items():
                target = arguments.folder / f"{name}.png"
                take(url, view, target, dark=arguments.dark or view.dark)
                sys.stdout.write(f"{target}\n")


@contextmanager
def demo_site() -> Iterator[dict[str, Any]]:
    """The demo's web site in a process of its own, and what it says of itself."""
    words = ["-m", "demo.site", f"{HOME.name}/site"]
    # Its clients hang up on some pages, as they should.
    with running(*words, stdout=subprocess.PIPE, log=subprocess.DEVNULL) as process:
        yield announced_by(process) or {}


@contextmanager
def test_database() -> Iterator[None]:
    made = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        connections.close_all()
        teardown_databases(made, verbosity=0)


@contextmanager
def a_sweeper() -> Iterator[None]:
    """What a running worker does every second."""
    sweeper = Sweeper(FallbackWorkers(size=0))
    registry.say_alive(is_new=True)
    sweeper.start()
    try:
        yield
    finally:
        sweeper.stop()


@contextmanager
def admin_site() -> Iterator[str]:
    """The site on loopback, with every request logged in; its URL."""
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))

    class LoggedIn(StaticFilesHandler):
        def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
            environ["HTTP_COOKIE"] = f"sessionid={client.cookies['sessionid'].value}"
            return super().__call__(environ, start_response)

    server = LiveServerThread("127.0.0.1", LoggedIn)
    server.daemon = True
    server.start()
    server.is_ready.wait()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.terminate()


def crawl_pages(about: dict[str, Any]) -> Pages:
    """Crawl, and leave work of all states."""

    def crawl(name: str, owner: Any, max_images: int, *kinds: str, priority: int = 5) -> Any:
        specs = [accepting.SourceSpec(**source) for source in about["sources"]]
        job = accepting.create_crawl_job(
            owner=owner,
            name=name,
            max_images=max_images,
            source_specs=[spec for spec in specs if not kinds or spec.kind in kinds],
            options={"max_bytes": about["max_bytes"]},
            priority=priority,
            chunk_size=8,
        )
        job.project.name = "Textures"
        job.project.save()
        return job

    ada, grace, alan = person("ada", "ENTERPRISE"), person("grace", "PRO"), person("alan", "FREE")
    crawl("Everything the site has", None, 320, priority=6)
    work_until(lambda: not CrawlJob.objects.open().exists(), slice_seconds=5)
    textures = crawl("Dunes and nebulae", ada, 320, priority=8)
    half = CrawlJob.objects.filter(pk=textures.pk, valid_images__gte=210)
    work_until(half.exists, slice_seconds=0.4)
    crawl("Bubbles for a paper", grace, 120, "urls", priority=7)
    paused = crawl("Mosaics", alan, 80, "page", priority=3)
    lifecycle.pause_job(job_id=paused.pk)
    claimed = api.claim(kind_named("chunk"), limit=4, task_id=TASK)
    JobChunk.objects.filter(pk=claimed[0].id).update(retry_count=3)
    api.fail(claimed[0], error="OSError: [Errno 28] No space left on device")
    api.fail(claimed[1], error="EngineFailed: the decoder was killed (signal 9)")
    JobChunk.objects.filter(status="processing").update(
        lease_expires_at=timezone.now() + timedelta(minutes=2)
    )
    times = "finished_at = finished_at - back, started_at = started_at - back"
    for table in ("job_chunks", "crawl_sources"):
        execute(SPREAD.format(table=table, moment="finished_at", set=times))
    times = "retrieved_at = retrieved_at - back"
    execute(SPREAD.format(table="images", moment="retrieved_at", set=times))
    execute("ANALYZE")
    job = reverse("admin:crawler_crawljob_change", args=[textures.pk])
    return {
        "chunks": View(f"{reverse('admin:crawler_jobchunk_changelist')}?q={textures.pk}", 1250),
        "crawl-job": View(job, 1300),
        "crawl-job-dark": View(job, 1300, dark=True),
        "crawl-job-phone": View(job, 1900, width=PHONE_WIDTH),
        "crawl-jobs": View(reverse("admin:crawler_crawljob_changelist"), 620),
        "status": View(reverse("status"), 1750),
        "workers": View(reverse("admin:jobs_worker_changelist"), 420),
    }


def generation_pages(_about: dict[str, Any]) -> Pages:
    """Generations of all kinds."""

    def account(provider: str, nickname: str, slots: int, **values: Any) -> Any:
        email = f"{nickname.lower().replace(' ', '-')}@example.org"
        key = f"test-key-{nickname}".replace(" ", "-")
        values = {"email": email, "api_key": key, "max_concurrent_jobs": slots, **values}
        return ProviderAccount.objects.create(provider_id=provider, nickname=nickname, **values)

    def ask(prompt: str, owner: Any = None, **values: Any) -> Job:
        values = {"provider": "replicate", "operation": "text_to_image", **values}
        params = values.pop("params", {"prompt": prompt})
        return services.create_job(owner=owner, params=params, **values)

    ada = person("margaret", "PRO")
    credits.grant(profile=ada, amount=500, description="A gift", reference="gift")
    with Painter(duration=0.2) as fake:
        settings.PROVIDER_BASE_URLS = {"replicate": fake.base_url}
        studio = account("replicate", "Studio", 6, priority=5)
        research = account("replicate", "Research", 4, priority=2, max_daily_videos=200)
        spare = account("replicate", "Spare", 2)
        account("replicate", "Old key", 2, api_key="stolen", priority=9)
        account("openai", "Team", 5, status="exhausted", last_error="quota: You exceeded your quota.",
                cooldown_until=timezone.now() + timedelta(minutes=38))  # fmt: skip
        clips = account("pixverse", "Clips", 3, user=ada.user, is_private=True)
        ProviderCredit.objects.create(account=clips, credit_type="monthly", amount=1240)
        ProviderCredit.objects.create(account=clips, credit_type="package", amount=300)
        fake.script("submit", *[refuses(429, THROTTLED, {"Retry-After": "1"})] * 3, DOWN, DOWN)
        fake.endings.extend(
            [Ending("failed", "", "NSFW content detected (E005)")] * 3
            + [Ending("failed", "", "The model ran out of memory (E6716)")] * 2
        )
        jobs = [ask(f"{PLACES[n % len(PLACES)]}, study {n}", priority=4) for n in range(90)]
        jobs.append(ask("", provider="local", params={"prompt": "a nebula over the sea"}))
        work_until_ended(jobs)
        ProviderAccount.objects.filter(pk__in=[studio.pk, research.pk, spare.pk]).update(
            status="active", cooldown_until=None, failure_streak=0
        )
        fake.latency, fake.duration = 0.4, 6.0
        fake.script("submit", refuses(429, THROTTLED, {"Retry-After": "30"}), DOWN)
        shown = ask(
            "a lighthouse on dunes at dusk, gold and violet", ada, name="Lighthouse", priority=6
        )
        work_until_ended([shown])
        execute(SPREAD_SUBMISSIONS, shown.pk)
        fake.duration = None
        live = [ask(f"{PLACES[n % len(PLACES)]} at noon", ada, priority=5) for n in range(7)]
        sent = ProviderSubmission.objects.filter(job__in=live, status="accepted")
        work_until(lambda: sent.count() >= 6, slice_seconds=1)
        execute("ANALYZE")
    return {
        "generation": View(reverse("admin:jobs_job_change", args=[shown.pk]), 1060),
        "provider-accounts": View(reverse("admin:providers_provideraccount_changelist"), 800),
        "providers": View(reverse("admin:providers_status"), 1180),
        "home": View(reverse("admin:index"), 1150),
    }


class Painter(ReplicateFake):
    """A provider on loopback whose pictures are drawn here."""

    async def _serve_file(self, request: web.Request) -> web.Response:
        generation = self.generations[request.match_info["name"].partition(".")[0]]
        prompt = generation.params["input"]["prompt"]
        side = 512 if "dusk" in prompt else 128
        schema = adapter_named("local").operations["text_to_image"].models["painter"]
        params = schema.model_validate(
            {"prompt": prompt, "width": side, "height": side, "format": "webp"}
        )
        [body] = rendering.render("text_to_image", params, seed=len(self.generations)).files
        return web.Response(body=body, content_type="image/webp")


def person(name: str, tier: str) -> Profile:
    profile = Profile.objects.get(user=User.objects.create_user(name, f"{name}@example.org"))
    change_tier(profile=profile, tier=tier, actor=None)
    profile.refresh_from_db()
    return profile


def execute(statement: str, *params: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)


def work_until(done: Callable[[], bool], *, slice_seconds: float) -> None:
    deadline = time.monotonic() + WORK_SECONDS
    while not done():
        if time.monotonic() > deadline:
            sys.exit(f"The work has not come as far as it should in {WORK_SECONDS} s.")
        loop.run_worker_loop(task_id=TASK, slice_seconds=slice_seconds)


def work_until_ended(jobs: Sequence[Job]) -> None:
    ids = [job.pk for job in jobs]
    still = Job.objects.filter(pk__in=ids, status__in=["pending", "processing"])
    work_until(lambda: not still.exists(), slice_seconds=1)


def take(url: str, view: View, target: Path, *, dark: bool) -> None:
    with Browser() as chromium:
        theme = "dark" if dark else "light"
        chromium.show_as(width=view.width, height=view.height, theme=theme)
        chromium.open(url + view.path)
        chromium.wait_for(PICTURES_ARE_THERE)
        target.write_bytes(chromium.picture())


if __name__ == "__main__":
    main()
