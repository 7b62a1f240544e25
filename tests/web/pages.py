"""The pages of the admin, and what a browser finds wrong with their layout and access."""

from collections.abc import Iterator
from pathlib import Path

from django.contrib import admin
from django.db import models, transaction
from django.db.utils import DatabaseError
from django.urls import reverse

from tests.web.browser import Browser

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
RUN_AXE = """
const done = arguments[arguments.length - 1];
const told = (node) => [...node.any, ...node.all, ...node.none].map((one) => one.message).join(" ");
axe.run(document, {resultTypes: ["violations"]}).then(
  ({violations}) => done(violations.flatMap(({id, nodes}) => nodes.map(
    (node) => `${id}: ${node.html.slice(0, 200)}: ${told(node).slice(0, 300)}`))),
  (error) => done([`axe failed: ${error}`]),
);
"""
WIDER = """
const [root, body] = [document.documentElement, document.body];
return Math.max(root.scrollWidth, body.scrollWidth) - root.clientWidth;
"""
# A table that is wider than its region, of which the region is not reached by keyboard.
OUT_OF_REACH = """
return [...document.querySelectorAll("table")].filter((table) => {
  for (let up = table.parentElement; up; up = up.parentElement) {
    if (["auto", "scroll"].includes(getComputedStyle(up).overflowX)) {
      return up.scrollWidth > up.clientWidth && up.tabIndex !== 0 && up.tagName !== "MAIN";
    }
  }
}).map((table) => table.outerHTML.slice(0, 80));
"""
# What other code compares with, and what may not be just any text.
NOT_WORDS = {"provider_id", "password", "url_key", "kind", "scope", "role", "outcome", "status"}


def write_long_names(rows: dict[type[models.Model], models.Model]) -> None:
    """Fill every text of every row with one word as long as it may be, up to 400 characters."""
    for model, row in rows.items():
        for field in model._meta.concrete_fields:
            is_text = isinstance(field, models.CharField | models.TextField)
            if not is_text or field.choices or field.primary_key or field.name in NOT_WORDS:
                continue
            word = "W" * min(field.max_length or 400, 400)
            try:
                with transaction.atomic():
                    model._default_manager.filter(pk=row.pk).update(**{field.name: word})
            except DatabaseError:
                continue  # a constraint says which texts there are


def all_pages(rows: dict[type[models.Model], models.Model]) -> Iterator[str]:
    """Yield the address of every page of the admin, some of which are refused."""
    yield from map(reverse, ("admin:index", "status", "tiers", "admin:providers_status"))
    yield from map(reverse, ("admin:password_change", "admin:password_change_done"))
    for app in sorted({model._meta.app_label for model in admin.site._registry}):
        yield reverse("admin:app_list", args=[app])
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield reverse(f"{name}_add")
        for page in ("change", "delete", "history"):
            yield reverse(f"{name}_{page}", args=[rows[model].pk])
    ask = reverse("admin:jobs_job_add")
    yield f"{ask}?provider=local&operation=text_to_image"
    yield f"{ask}?provider=pixverse&operation=image_to_video"


def faults(chromium: Browser) -> list[str]:
    """Return what is wrong with the page that is open: 390 and 1280 pixels wide, light and dark."""
    found = []
    for width, theme in ((390, "light"), (1280, "light"), (1280, "dark")):
        chromium.show_as(width=width, theme=theme)
        at = f"{width} px, {theme}"
        if (wider := chromium.run(WIDER)) > 0:
            found.append(f"{at}: scrolls sideways, by {wider} pixels")
        found += [f"{at}: not reached by keyboard: {one}" for one in chromium.run(OUT_OF_REACH)]
        found += [f"{at}: {one}" for one in chromium.wait_for(RUN_AXE)]
    return found
