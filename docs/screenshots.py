"""Takes the screenshots of the admin in docs/images, from a real crawl of the demo's web site and
real generations, by this machine and by a provider of the tests.

    python docs/screenshots.py [--dark] [--only crawling|generating] [FOLDER]

Needs Chromium or Chrome on the PATH, and may create a test database beside that of DATABASE_URL.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_SECONDS = 90
CRAWL_SECONDS = 180
# A page needs a moment to load its pictures; this is the browser's own clock, in milliseconds.
PAGE_TIME = 4000

# What is done within a minute here takes an hour in life, and looks so in the charts.
SPREAD = """
WITH moved AS (
    SELECT id, make_interval(secs => 3400 * power(random(), 1.3)) AS back FROM {table}
    WHERE {moment} IS NOT NULL
)
UPDATE {table} SET {set} FROM moved WHERE moved.id = {table}.id
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Takes the screenshots of the admin.")
    parser.add_argument("folder", nargs="?", type=Path, default=PROJECT / "docs" / "images")
    parser.add_argument("--dark", action="store_true", help="as dark pages")
    parser.add_argument("--only", choices=["crawling", "generating"], help="not the other pages")
    arguments = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"There is no browser: none of {', '.join(BROWSERS)} is on the PATH.")
    with tempfile.TemporaryDirectory() as home, demo_site(Path(home)) as about:
        prepare_django(Path(home))
        with test_database():
            pages: dict[str, tuple[str, int]] = {}
            if arguments.only != "generating":
                pages |= fill(about)
            if arguments.only != "crawling":
                pages |= generate()
            with a_sweeper(), admin_site() as url:
                arguments.folder.mkdir(parents=True, exist_ok=True)
                for name, (path, height) in pages.items():
                    target = arguments.folder / f"{name}.png"
                    take(browser, url + path, target, height=height, dark=arguments.dark)
                    sys.stdout.write(f"{target}\n")


@contextmanager
def demo_site(home: Path) -> Iterator[dict[str, Any]]:
    """The demo's web site in a process of its own, and what it says of itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "demo.site", str(home / "site")],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # its clients hang up on some pages, as they should
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def prepare_django(home: Path) -> None:
    sys.path.insert(0, str(PROJECT))
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo.settings"
    os.environ["PIXSIM_BLOBS"] = str(home / "blobs")
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    import django

    django.setup()


@contextmanager
def test_database() -> Iterator[None]:
    from django.db import connections
    from django.test.utils import setup_databases, teardown_databases

    made = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        connections.close_all()
        teardown_databases(made, verbosity=0)


def fill(about: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """Crawl, and leave work of all states; the pages to show, with the height of each."""
    from django.db import connection
    from django.urls import reverse
    from django.utils import timezone

    from crawler.models import CrawlJob, JobChunk
    from crawler.services import accepting, lifecycle
    from jobs.queue import api
    from jobs.queue.kinds import kind_named

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

    people = {tier: person(name, tier) for name, tier in PEOPLE.items()}
    crawl("Everything the site has", None, 320, priority=6)
    work_until(lambda: not CrawlJob.objects.open().exists(), slice_seconds=5)
    textures = crawl("Dunes and nebulae", people["ENTERPRISE"], 320, priority=8)
    half = CrawlJob.objects.filter(pk=textures.pk, valid_images__gte=210)
    work_until(half.exists, slice_seconds=0.4)
    crawl("Bubbles for a paper", people["PRO"], 120, "urls", priority=7)
    paused = crawl("Mosaics", people["FREE"], 80, "page", priority=3)
    lifecycle.pause_job(job_id=paused.pk)
    claimed = api.claim(kind_named("chunk"), limit=4, task_id=TASK)
    JobChunk.objects.filter(pk=claimed[0].id).update(retry_count=3)
    api.fail(claimed[0], error="OSError: [Errno 28] No space left on device")
    api.fail(claimed[1], error="EngineFailed: the decoder was killed (signal 9)")
    JobChunk.objects.filter(status="processing").update(
        lease_expires_at=timezone.now() + timedelta(minutes=2)
    )
    with connection.cursor() as cursor:
        for table in ("job_chunks", "crawl_sources"):
            cursor.execute(
                SPREAD.format(
                    table=table,
                    moment="finished_at",
                    set="finished_at = finished_at - back, started_at = started_at - back",
                )
            )
        cursor.execute(
            SPREAD.format(
                table="images", moment="retrieved_at", set="retrieved_at = retrieved_at - back"
            )
        )
        cursor.execute("ANALYZE")
    return {
        "chunks": (f"{reverse('admin:crawler_jobchunk_changelist')}?q={textures.pk}", 1250),
        "crawl-job": (reverse("admin:crawler_crawljob_change", args=[textures.pk]), 1300),
        "crawl-jobs": (reverse("admin:crawler_crawljob_changelist"), 620),
        "status": (reverse("status"), 1750),
    }


def generate() -> dict[str, tuple[str, int]]:
    """Generations of all kinds; the pages to show, with the height of each."""
    from django.conf import settings
    from django.db import connection
    from django.urls import reverse
    from django.utils import timezone

    from accounts import credits
    from jobs import services
    from jobs.models import Job
    from providers.models import ProviderAccount, ProviderCredit, ProviderSubmission
    from tests.providers.adapters.fake import DOWN, Ending, refuses
    from tests.providers.adapters.replicate_fake import THROTTLED

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
    with painter() as fake:
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
        work_until(ended(jobs), slice_seconds=3)
        ProviderAccount.objects.filter(pk__in=[studio.pk, research.pk, spare.pk]).update(
            status="active", cooldown_until=None, failure_streak=0
        )
        fake.latency, fake.duration = 0.4, 6.0
        fake.script("submit", refuses(429, THROTTLED, {"Retry-After": "30"}), DOWN)
        shown = ask(
            "a lighthouse on dunes at dusk, gold and violet", ada, name="Lighthouse", priority=6
        )
        work_until(ended([shown]), slice_seconds=1)
        with connection.cursor() as cursor:
            cursor.execute(SPREAD_SUBMISSIONS, [shown.pk])
        fake.duration = None
        live = [ask(f"{PLACES[n % len(PLACES)]} at noon", ada, priority=5) for n in range(7)]
        sent = ProviderSubmission.objects.filter(job__in=live, status="accepted")
        work_until(lambda: sent.count() >= 6, slice_seconds=1)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    return {
        "generation": (reverse("admin:jobs_job_change", args=[shown.pk]), 1060),
        "provider-accounts": (reverse("admin:providers_provideraccount_changelist"), 800),
        "providers": (reverse("admin:providers_status"), 1180),
    }


PLACES = ("a harbour in fog", "a forest in spring", "mountains at dawn", "a desert at night")

# What takes a second here takes a while in life, at any time of the hour.
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


def painter() -> Any:
    """A provider on loopback whose pictures are drawn here."""
    from aiohttp import web

    from providers.adapters import adapter_named
    from providers.adapters.local import rendering
    from tests.providers.adapters.replicate_fake import ReplicateFake

    class Painter(ReplicateFake):
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

    return Painter(duration=0.2)


def ended(jobs: Sequence[Any]) -> Callable[[], bool]:
    """Whether these generations have ended."""
    from jobs.models import Job

    ids = [job.pk for job in jobs]
    still = Job.objects.filter(pk__in=ids, status__in=["pending", "processing"])
    return lambda: not still.exists()


TASK = "5b0d9a0e-6f0b-4b6e-9a53-1f8d2c7e4a10"
PEOPLE = {"ada": "ENTERPRISE", "grace": "PRO", "alan": "FREE"}


def person(name: str, tier: str) -> Any:
    from django.contrib.auth.models import User

    from accounts.models import Profile
    from accounts.services import change_tier

    profile = Profile.objects.get(user=User.objects.create_user(name, f"{name}@example.org"))
    change_tier(profile=profile, tier=tier, actor=None)
    profile.refresh_from_db()
    return profile


def work_until(done: Callable[[], bool], *, slice_seconds: float) -> None:
    """Drain, and sweep as a worker does."""
    from jobs.queue.worker import loop
    from jobs.queue.worker.fallback import FallbackWorkers
    from jobs.queue.worker.sweeper import Sweeper

    sweeper = Sweeper(FallbackWorkers(size=0))
    deadline = time.monotonic() + CRAWL_SECONDS
    while not done():
        if time.monotonic() > deadline:
            sys.exit(f"The work has not come as far as it should in {CRAWL_SECONDS} s.")
        loop.run_worker_loop(task_id=TASK, slice_seconds=slice_seconds)
        sweeper.sweep()


@contextmanager
def a_sweeper() -> Iterator[None]:
    """What a running worker does every second; the claimed chunks stay as they are."""
    from jobs.queue.worker.fallback import FallbackWorkers
    from jobs.queue.worker.sweeper import Sweeper

    sweeper = Sweeper(FallbackWorkers(size=0))
    sweeper.start()
    try:
        yield
    finally:
        sweeper.stop()


@contextmanager
def admin_site() -> Iterator[str]:
    """The site on loopback for as long as needed, with every request logged in."""
    from django.contrib.auth.models import User
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application
    from django.test import Client

    class Quiet(WSGIRequestHandler):
        def log_message(self, *args: Any) -> None:
            """The script's own lines are enough."""

    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    site = StaticFilesHandler(get_wsgi_application())

    def logged_in(environ: dict[str, Any], start_response: Any) -> Any:
        environ["HTTP_COOKIE"] = cookie
        return site(environ, start_response)

    server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
    server.set_app(logged_in)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def take(browser: str, url: str, target: Path, *, height: int, dark: bool) -> None:
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            f"--window-size=1500,{height}",
            f"--virtual-time-budget={PAGE_TIME}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--screenshot={target}",
        ]
        if os.geteuid() == 0:  # Chromium's sandbox refuses to run as root
            command.append("--no-sandbox")
        done = subprocess.run(
            [*command, url], capture_output=True, text=True, timeout=BROWSER_SECONDS, check=False
        )
    if done.returncode or not target.exists():
        sys.exit(f"The browser took no picture of {url}:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
