"""The demo's crawl: asking for it, its progress, and what came of it."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.table import Table

from crawler.export import export_job
from crawler.export.sheet import contact_sheet
from crawler.models import CrawlJob, Image
from crawler.services import accepting
from demo.processes import short
from pixsim.core.cli.progress import display_on, wait_until_ended

ASKED_FOR = 400
"""More than the site has, so that the crawl ends when it has seen everything."""
SECONDS = 180.0
LINE_SECONDS = 2.0
"""Where no bar can be drawn, a line is printed so often."""

WORDS = {
    "stored": "new, checked, in the dataset",
    "duplicate": "the same bytes at another address",
    "near_duplicate": "resized or compressed anew",
    "robots": "robots.txt forbids it",
    "opted_out": "its answer says noai",
    "http_4xx": "gone",
    "http_5xx": "the server failed three times",
    "connect": "the server hangs up",
    "too_slow": "a byte now and then",
    "blocked_address": "a link into a private network",
    "too_many_redirects": "a redirect to itself",
    "not_an_image": "an HTML page named .jpg",
    "bad_format": "an SVG drawing",
    "truncated": "cut off on the way",
    "corrupt": "one bit flipped",
    "too_small": "an icon",
    "too_many_pixels": "a header claiming 1.2 gigapixels",
    "too_large": "beyond this crawl's 2 MiB",
    "aspect": "a banner, 30 to 1",
}


def crawl(about: Mapping[str, Any], check: Callable[[], None]) -> CrawlJob:
    """Ask for the crawl of the site that says this of itself, and watch it to its end, or for SECONDS."""
    job = accepting.create_crawl_job(
        owner=None,
        name="Demo",
        max_images=ASKED_FOR,
        source_specs=[accepting.SourceSpec(**source) for source in about["sources"]],
        keywords=sorted(about["labels"]),
        options={"max_bytes": about["max_bytes"]},
    )
    total, began = sum(about["outcomes"].values()), time.monotonic()
    with display_on(OutputWrapper(sys.stderr), line_seconds=LINE_SECONDS) as display:

        def has_ended() -> bool:
            check()
            job.refresh_from_db()
            closed, stored = sum(job.outcomes.values()), job.valid_images
            rate = closed / max(time.monotonic() - began, 0.1)
            chunks = f"{job.completed_chunks} of {job.total_chunks} chunks done"
            state = f"{stored} stored, {closed - stored} refused, {rate:.0f}/s, {chunks}"
            display.show(f"  {closed} of {total} addresses: {state}", closed, total)
            return not job.is_open

        wait_until_ended(has_ended, ended=bool, display=display, timeout=SECONDS)
    return job


def report(console: Console, job: CrawlJob, about: Mapping[str, Any]) -> bool:
    """Print what came of the crawl; whether it is what the site has."""
    labels = Counter(
        Image.objects.filter(crawl_job=job).in_dataset().values_list("label", flat=True)
    )
    seconds = ((job.completed_at or job.updated_at) - job.created_at).total_seconds()
    title = f"Crawl job {job.pk}: {job.status} in {seconds:.1f} s, {job.valid_images} pictures"
    console.print()
    console.print(_outcome_table(title, found=job.outcomes, expected=about["outcomes"]))
    wrong = _differences(job.outcomes, about["outcomes"], what="outcome")
    wrong += _differences(labels, about["labels"], what="pictures labelled")
    if job.status != "completed":
        wrong.append(f"the job ended as {job.status}: {job.error_message}")
    if wrong:
        console.print("Not as expected: " + "; ".join(wrong), style="red", markup=False)
    else:
        console.print(
            "Every address ended as it must: the dataset is exactly the site's distinct,\n"
            "whole and allowed pictures.",
            style="green",
        )
    console.print()
    return not wrong


def export(console: Console, job: CrawlJob, output: Path) -> None:
    output.mkdir(exist_ok=True)
    for earlier in output.glob("demo-*.zip"):
        earlier.unlink()
    sheet = contact_sheet(job_id=job.pk, path=output / "contact-sheet.png")
    dataset = export_job(job_id=job.pk, folder=output)
    size = f"({dataset.images} pictures, {dataset.size / 1024**2:.1f} MB)"
    console.print(f"Contact sheet: {short(sheet)}", soft_wrap=True)
    console.print(f"Dataset:       {short(dataset.path)} {size}", soft_wrap=True)


def _outcome_table(title: str, *, found: Mapping[str, int], expected: Mapping[str, int]) -> Table:
    """Each outcome with how often it came, and whether that is what the site has."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in ("outcome", "found", "expected", ""):
        is_number = heading in ("found", "expected")
        table.add_column(heading, justify="right" if is_number else "left")
    for name in sorted({*found, *expected}, key=lambda one: -expected.get(one, 0)):
        came, should = found.get(name, 0), expected.get(name, 0)
        words = WORDS.get(name, "") if came == should else "not what the site has"
        style = None if came == should else "red"
        table.add_row(name, str(came), str(should), words, style=style)
    table.add_section()
    table.add_row("in all", str(sum(found.values())), str(sum(expected.values())), "")
    return table


def _differences(found: Mapping[str, Any], expected: Mapping[str, Any], *, what: str) -> list[str]:
    """In words, each name whose values differ."""
    return [
        f"{what} {name}: {found.get(name, 0)}, expected {expected.get(name, 0)}"
        for name in sorted({*found, *expected})
        if found.get(name, 0) != expected.get(name, 0)
    ]
