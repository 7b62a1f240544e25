"""The documentation: what it links to, names and shows exists."""

import argparse
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.db import connection

from accounts.tiers import TABLE
from crawler.fetch.rules import Rules
from crawler.models import Outcome
from crawler.sources import all_sources
from crawler.work import INVARIANTS as CRAWL_INVARIANTS
from jobs.generation.kind import INVARIANTS as GENERATION_INVARIANTS
from jobs.queue.ops.check import INVARIANTS

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    PROJECT / "SECURITY.md",
    *sorted(PROJECT.glob("docs/*.md")),
]
CODE = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SETTING = re.compile(r"[A-Z]+(?:_[A-Z0-9]+)+")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def inline_code(page: Path) -> list[str]:
    return CODE.findall(BLOCK.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    titles = HEADING.findall(BLOCK.sub("", page.read_text()))
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def parser_of(command: str) -> argparse.ArgumentParser:
    app = get_commands()[command]
    made = load_command_class(app, command) if isinstance(app, str) else app
    return made.create_parser("manage.py", command)


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and those of its actions."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


def shown_commands(page: Path) -> list[str]:
    """What stands behind `$ ` in console blocks, one by one."""
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    given = [line[2:] for line in lines if line.startswith("$ ")]
    return [command for line in given for command in line.split(" && ")]


@each_page
def test_links_and_images_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_file(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {target}"


@each_page
def test_commands_that_are_shown_can_be_given_so(page: Path) -> None:
    for line in shown_commands(page):
        words = shlex.split(line, comments=True)
        if "manage.py" in words:
            words = words[: words.index(">")] if ">" in words else words
            command, *arguments = words[words.index("manage.py") + 1 :]
            parser_of(command).parse_args(arguments)  # exits, and so fails, if it cannot


@each_page
def test_files_that_commands_read_were_made_by_commands_before(page: Path) -> None:
    made: set[str] = set()
    for line in shown_commands(page):
        words = shlex.split(line, comments=True)
        if words[:3] == ["python", "-m", "demo.samples"]:
            made.add(words[3])
        for flag, value in pairwise(words):
            path = value.partition("=")[2] if flag == "--file" else value
            if flag in ("--from", "--file") and "://" not in path:
                assert path.split("/")[0] in made, f"{page.name}: {line}"


@each_page
def test_commands_that_are_mentioned_exist_with_their_actions_and_options(page: Path) -> None:
    for text in inline_code(page):
        match = re.search(r"manage\.py ([a-z_-]+)(.*)", text)
        if match is None:
            continue
        command, rest = match[1], match[2].split()
        assert command in get_commands(), text  # as `help` lists it
        known = [action for one in parsers(parser_of(command)) for action in one._actions]
        flags = {flag for action in known for flag in action.option_strings}
        assert {word for word in rest if word.startswith("--")} <= flags, text
        places = [action for action in known if not action.option_strings]
        choices = {str(word) for action in places for word in action.choices or ()}
        plain = [word for word in rest if re.fullmatch(r"[a-z]+", word)]
        assert not choices or not plain or plain[0] in choices, text


@each_page
def test_make_targets_exist(page: Path) -> None:
    made = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = [*inline_code(page), *shown_commands(page)]
    targets = {match[1] for text in named if (match := re.match(r"make ([a-z-]+)", text))}
    assert targets <= made


@each_page
def test_settings_that_are_named_exist(page: Path) -> None:
    example = (PROJECT / ".env.example").read_text()
    for text in inline_code(page):
        name = SETTING.match(text)
        if name and text[name.end() :][:1] in ("", "="):
            described = re.search(rf"^#? ?{name[0]}=", example, re.MULTILINE)
            assert described or hasattr(settings, name[0]), f"{page.name}: {text}"


@each_page
def test_files_of_this_project_that_are_named_exist(page: Path) -> None:
    roots = ("accounts", "benchmarks", "crawler", "docs", "jobs", "pixsim", "providers", "tests")
    for text in inline_code(page):
        if re.fullmatch(rf"(?:{'|'.join(roots)})/[\w/.]*", text):
            assert (PROJECT / text).exists(), f"{page.name}: {text}"


@pytest.mark.django_db
@each_page
def test_sql_that_is_shown_fits_the_schema(page: Path) -> None:
    with connection.cursor() as cursor:
        for statement in "".join(blocks(page, "sql")).split(";\n"):
            if statement.strip():
                cursor.execute(f"EXPLAIN {statement.replace('%', '%%')}")


@each_page
def test_queries_of_models_that_are_shown_exist(page: Path) -> None:
    models = {model.__name__: model for model in apps.get_models()}
    for model, query in re.findall(r"(\w+)\.objects\.(\w+)\(", page.read_text()):
        assert hasattr(models[model].objects, query)


@each_page
def test_nothing_of_the_machine_it_was_written_on_is_in_it(page: Path) -> None:
    assert not re.search(r"/(?:root|work|home)/", page.read_text())


def test_every_invariant_is_explained_to_whoever_is_on_call() -> None:
    proved = (*INVARIANTS, *CRAWL_INVARIANTS, *GENERATION_INVARIANTS)
    names = {invariant.name for invariant in proved}

    assert names <= set(inline_code(PROJECT / "docs" / "operations.md"))


def test_every_outcome_option_and_rule_is_explained() -> None:
    named = set(inline_code(PROJECT / "docs" / "crawling.md"))

    assert set(Outcome.values) <= named
    assert {field.name for field in fields(Rules)} <= named
    for source in all_sources().values():
        assert {option.name for option in source.known_options} <= named


def test_the_table_of_tiers_is_that_of_the_code() -> None:
    readme = (PROJECT / "README.md").read_text()
    rows = dict(re.findall(r"^\| ([A-Z]+) \| (.+) \|$", readme, re.MULTILINE))
    for name, tier in TABLE.items():
        features = sorted(tier.features)
        limits = [tier.window, tier.concurrent_jobs, tier.images_per_job, tier.jobs_per_day]
        limits += [tier.projects, tier.default_priority, tier.highest_priority]
        assert re.split(r" \| |, ", rows[name]) == features + [f"{limit:,}" for limit in limits]


def test_the_pictures_are_drawings_that_say_what_they_show() -> None:
    for picture in PROJECT.glob("docs/images/*.svg"):
        root = ElementTree.parse(picture).getroot()
        assert root.findtext("{http://www.w3.org/2000/svg}title")
        assert root.findtext("{http://www.w3.org/2000/svg}desc")
        assert "prefers-color-scheme: dark" in picture.read_text()
