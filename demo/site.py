"""The demo's web site on loopback: pages, sitemaps, a robots.txt, and servers in trouble.

    python -m demo.site CACHE_FOLDER [--port PORT]

Prints one line of JSON when it can be asked: see `announcement`. Ends with SIGTERM.
"""

import asyncio
import csv
import io
import json
import signal
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from aiohttp import web

from demo import answers, catalogue
from demo.answers import Answer
from demo.catalogue import HOSTS, Item
from pixsim.core.cli.pipes import quiet_on_closed_pipe

ROBOTS = "User-agent: *\nDisallow: /private/\n\nSitemap: {base}/sitemap.xml\n"
ITEMS_PER_PAGE = 24
SITEMAP = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
IMAGES = 'xmlns:image="http://www.google.com/schemas/sitemap-image/1.1"'
LICENCE = "https://creativecommons.org/publicdomain/zero/1.0/"
STYLE = (
    "body{font:16px/1.5 sans-serif;margin:2rem auto;max-width:64rem;background:#14161c;color:#eee}"
    "a{color:#8ecae6} .all{display:flex;flex-wrap:wrap;gap:.5rem} img{width:10rem;height:7.5rem;"
    "object-fit:cover;border-radius:.4rem;background:#333}"
)

Routes = dict[str, Answer]


def sources(base: str) -> list[dict[str, Any]]:
    """The crawl's sources, as crawler.services.accepting.SourceSpec has them: one of each kind and more."""
    follow = {"follow_links": True}
    columns = {"url_column": "picture", "label_column": "style"}
    return [
        {"kind": "sitemap", "location": f"{base}/sitemaps/dunes.xml", "label": "dunes"},
        {"kind": "sitemap", "location": f"{base}/sitemaps/nebulae.xml", "label": "nebulae"},
        {"kind": "page", "location": f"{base}/mosaics/1", "label": "mosaics", "options": follow},
        {"kind": "page", "location": f"{base}/ripples/1", "label": "ripples", "options": follow},
        {"kind": "urls", "location": f"{base}/lists/bubbles.csv", "options": columns},
    ]


def announcement(items: Sequence[Item], base: str) -> dict[str, Any]:
    """What a crawl needs to know: `sources`, and what must come of it: `outcomes` and, for the
    stored pictures, `labels`, each a count by name."""
    return {
        "url": base,
        "sources": sources(base),
        "max_bytes": catalogue.MAX_BYTES,
        "outcomes": Counter(item.outcome for item in items if item.outcome),
        "labels": Counter(item.label for item in items if item.outcome == "stored"),
    }


def fill(tables: Mapping[str, Routes], items: Sequence[Item], bases: Mapping[str, str]) -> None:
    """Fill in every server's answers by path and query; `bases` are the servers' base URLs."""
    by_label: dict[str, list[str]] = {}
    for item in items:
        if item.outcome:
            by_label.setdefault(item.label, []).append(bases.get(item.host, "") + item.path)
        if item.answer is not None:
            tables[item.host][item.path] = item.answer
    site, base = tables["site"], bases["site"]
    site["/robots.txt"] = answers.file(ROBOTS.format(base=base), "txt")
    site["/"] = answers.file(_front_page(by_label), "html")
    index = _sitemap_index([f"{base}/sitemaps/{label}.xml" for label in by_label])
    site["/sitemap.xml"] = answers.file(index, "xml")
    for label, urls in by_label.items():
        site[f"/sitemaps/{label}.xml"] = answers.file(_sitemap(base, label, urls), "xml")
        site[f"/lists/{label}.csv"] = answers.file(_list(label, urls), "csv")
        for number, page in _gallery(label, urls).items():
            site[f"/{label}/{number}"] = answers.file(page, "html")


async def serve(cache: Path, port: int = 0) -> None:
    """Serve until told to end; the pages at `port`, or at one that is free."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    items = catalogue.items(catalogue.drawn_pictures(cache))
    tables: dict[str, Routes] = {host: {} for host in HOSTS}
    runners = {
        host: await _start(table, port if host == "site" else 0) for host, table in tables.items()
    }
    bases = {host: f"http://127.0.0.1:{one.addresses[0][1]}" for host, one in runners.items()}
    fill(tables, items, bases)
    print(json.dumps(announcement(items, bases["site"])), flush=True)  # noqa: T201
    await stopped.wait()
    for runner in runners.values():
        await runner.cleanup()


async def _start(table: Routes, port: int) -> web.AppRunner:
    """A server on this port, or with 0 on a free one, answering by `table`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        found = table.get(request.path_qs)
        return await found(request) if found else web.Response(status=404)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


# Documents


def _front_page(labels: Mapping[str, Sequence[object]]) -> str:
    links = "".join(
        f'<li><a href="/{label}/1">{label}</a>, {len(listed)} addresses'
        for label, listed in labels.items()
    )
    return _document("The demo's pictures", f"<ul>{links}</ul>")


def _gallery(label: str, urls: Sequence[str]) -> dict[int, str]:
    """The pages of a gallery, each linking to the next."""
    pages = {}
    for number, start in enumerate(range(0, len(urls), ITEMS_PER_PAGE), start=1):
        images = "".join(
            f'<img src="{escape(url)}" alt="{_title(label, place)}" loading="lazy">'
            for place, url in enumerate(urls[start : start + ITEMS_PER_PAGE], start=start)
        )
        more = f'<a href="/{label}/{number + 1}">More</a> · '
        if start + ITEMS_PER_PAGE >= len(urls):
            more = ""
        home = '<a href="/" rel="nofollow">All galleries</a>'
        body = f'<div class="all">{images}</div><p>{more}{home}'
        pages[number] = _document(f"{label.capitalize()}, page {number}", body)
    return pages


def _document(title: str, body: str) -> str:
    return (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style><h1>{title}</h1>{body}</html>"
    )


def _sitemap_index(locations: Sequence[str]) -> str:
    entries = "".join(f"<sitemap><loc>{escape(one)}</loc></sitemap>" for one in locations)
    return f'<?xml version="1.0"?><sitemapindex {SITEMAP}>{entries}</sitemapindex>'


def _sitemap(base: str, label: str, urls: Sequence[str]) -> str:
    images = "".join(
        f"<image:image><image:loc>{escape(url)}</image:loc>"
        f"<image:title>{_title(label, place)}</image:title>"
        f"<image:license>{LICENCE}</image:license></image:image>"
        for place, url in enumerate(urls)
    )
    entry = f"<url><loc>{base}/{label}/1</loc>{images}</url>"
    return f'<?xml version="1.0"?><urlset {SITEMAP} {IMAGES}>{entry}</urlset>'


def _list(label: str, urls: Sequence[str]) -> str:
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["picture", "style", "title", "creator", "licence_url"])
    for place, url in enumerate(urls):
        writer.writerow([url, label, _title(label, place), "PixSim's demo", LICENCE])
    return table.getvalue()


def _title(label: str, place: int) -> str:
    return f"{label.capitalize()} no. {place + 1}"


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m demo.site", description="Serve the demo's web site.")
    parser.add_argument("cache", type=Path, metavar="CACHE_FOLDER", help="of its drawn pictures")
    parser.add_argument(
        "--port", type=int, default=0, help="of its pages; without, one that is free"
    )
    arguments = parser.parse_args()
    with quiet_on_closed_pipe():
        asyncio.run(serve(arguments.cache, arguments.port))
