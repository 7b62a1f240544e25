"""What a source finds is what its server is asked for, character by character."""

import html
from collections.abc import Iterator

import pytest

from crawler.models import Candidate, CrawlJob, Image
from crawler.services import accepting
from crawler.services.accepting import SourceSpec
from tests.crawler.in_process import wait_until, working
from tests.crawler.local_site import Answer, Site
from tests.crawler.pictures import jpeg

pytestmark = pytest.mark.django_db(transaction=True)

# As found, and as it must be sent: the same, if nothing is said.
SPELLINGS = {
    "a%2fb.jpg?sig=a%2fb%2BC%3d": "",
    "a%2Fc.jpg?sig=%7e~%41": "",
    "%7euser/~.jpg": "",
    "i.jpg?utm_source=x&Signature=y": "",
    "i.jpg?b=2&a=1&&c&": "",
    "empty.jpg?": "",
    "d//e.jpg;v=1": "",
    "100%.jpg": "",
    "i.jpg?q=[]}|^`\\": "",
    "with space%2f.jpg": "with%20space%2f.jpg",
    "é%c3%a9.jpg?é%c3%a9": "%C3%A9%c3%a9.jpg?%C3%A9%c3%a9",
    "f/./g/../h.jpg?x=../y": "f/h.jpg?x=../y",
    "f/%2e/g/%2E%2e/k.jpg": "f/k.jpg",
    "quotes.jpg?'": "quotes.jpg?%27",
    "fragment.jpg?x=%2f#top": "fragment.jpg?x=%2f",
}
SENT = [sent or found for found, sent in SPELLINGS.items()]
KINDS = ("list", "page", "map", "moved")


@pytest.fixture
def site(settings) -> Iterator[Site]:
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.1"]
    settings.CRAWL_FOLDER_ROOTS = ["/"]
    settings.CRAWL_HONOUR_ROBOTS = True
    with Site() as site:
        yield site


def crawl(*sources: SourceSpec) -> CrawlJob:
    job = accepting.create_crawl_job(
        owner=None, name="t", max_images=100, source_specs=list(sources)
    )
    with working():
        wait_until(lambda: not CrawlJob.objects.open().exists(), seconds=60)
    job.refresh_from_db()
    return job


def test_every_source_sends_addresses_as_they_were_found(site: Site, tmp_path) -> None:
    targets = [f"/{kind}/{sent}" for kind in KINDS for sent in SENT]
    for seed, target in enumerate(targets):
        site.routes[target] = jpeg(96, 72, seed=seed)
    for number, found in enumerate(SPELLINGS):
        location = found.replace("é", "\u00c3\u00a9")  # the server writes headers in Latin-1
        site.routes[f"/{number}.jpg"] = Answer(
            status=302, headers={"Location": f"moved/{location}"}
        )
    images = "".join(f'<img src="page/{html.escape(found)}">' for found in SPELLINGS)
    site.routes["/page?key=a%2fb"] = Answer(images, headers={"Content-Type": "text/html"})
    places = "".join(f"<image><loc>map/{html.escape(found)}</loc></image>" for found in SPELLINGS)
    site.routes["/map.xml?key=a%2fb"] = f"<urlset><url><loc>x</loc>{places}</url></urlset>"
    listed = tmp_path / "list.txt"
    moved = [f"{site.url}/{number}.jpg" for number in range(len(SPELLINGS))]
    listed.write_text("\n".join([*(f"{site.url}/list/{found}" for found in SPELLINGS), *moved]))

    job = crawl(
        SourceSpec("urls", str(listed)),
        SourceSpec("page", f"{site.url}/page?key=a%2fb"),
        SourceSpec("sitemap", f"{site.url}/map.xml?key=a%2fb"),
    )

    asked = [target for target in site.asked if target in targets]
    assert sorted(asked) == sorted(targets)
    assert job.outcomes == {"stored": len(targets)}
    # Where a picture came from is what was found, too.
    expected = {site.url + target for target in targets if not target.startswith("/moved")}
    assert set(Image.objects.values_list("original_url", flat=True)) == expected | set(moved)


def test_of_two_spellings_of_one_address_the_first_found_is_sent(site: Site, tmp_path) -> None:
    spellings = ["/%7ea%2f.jpg?utm_source=x&sig=a%2fb", "/~a%2F.jpg?sig=a%2Fb"]
    for target in spellings:
        site.routes[target] = jpeg(96, 72)
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(site.url + target for target in spellings))

    job = crawl(SourceSpec("urls", str(listed)))

    assert job.outcomes == {"stored": 1, "duplicate_url": 1}
    assert site.asked == ["/robots.txt", spellings[0]]


def test_rules_of_robots_txt_match_however_an_address_is_spelled(site: Site, tmp_path) -> None:
    site.routes["/robots.txt"] = "User-agent: *\nDisallow: /a%2Fb\nDisallow: /~c\nDisallow: /*?utm_"
    excluded = ["/a%2fb.jpg", "/x/../a%2Fb2.jpg?", "/%7ec.jpg", "/d.jpg?utm_source=x"]
    site.routes["/a/b.jpg"] = jpeg(96, 72)
    site.routes["/e.jpg"] = Answer(status=302, headers={"Location": "/%7Ec.jpg"})
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(site.url + target for target in [*excluded, "/e.jpg", "/a/b.jpg"]))

    job = crawl(SourceSpec("urls", str(listed)))

    assert job.outcomes == {"stored": 1, "robots": len(excluded) + 1}
    assert sorted(site.asked) == ["/a/b.jpg", "/e.jpg", "/robots.txt"]


def test_linked_pages_are_read_once_however_their_links_are_spelled(site: Site) -> None:
    links = ["two?utm_source=menu&key=%2f", "two?key=%2F", "%74wo?key=%2f&utm_medium=foot"]
    page = "".join(f'<a href="{html.escape(link)}">x</a>' for link in links)
    site.routes["/one"] = Answer(page, headers={"Content-Type": "text/html"})
    site.routes["/two?utm_source=menu&key=%2f"] = Answer(
        "<img src=a.jpg>", headers={"Content-Type": "text/html"}
    )
    site.routes["/a.jpg"] = jpeg(96, 72)

    crawl(SourceSpec("page", f"{site.url}/one", options={"follow_links": True}))

    assert [target for target in site.asked if "two" in target] == [f"/{links[0]}"]
    assert Candidate.objects.get().url == f"{site.url}/a.jpg"
