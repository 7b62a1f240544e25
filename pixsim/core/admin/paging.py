"""Lists of tables with millions of rows: no full count, and every page as quick as the first."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import connection, transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from pixsim.core.admin.base import ModelAdmin

COUNT_CAP = 10_000
"""More rows than this are not counted: all of a table are estimated, those of a filter are "many"."""

TABLE_ROWS = "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)"


class Count(int):
    """A number of rows that may be only about right (`words`)."""

    words: str

    def __new__(cls, value: int, words: str = "") -> "Count":
        count = super().__new__(cls, value)
        count.words = words or f"{value:,}"
        return count

    def __str__(self) -> str:
        return self.words


def _count_with_keys(queryset: QuerySet[Any]) -> tuple[Count, list[Any] | None]:
    """Return how many rows there are, exactly up to COUNT_CAP, and their keys if so few.

    Beyond that: for all rows of a table what its statistics say, for a filter at least the cap.
    """
    if not queryset.query.where:
        with connection.cursor() as cursor:
            cursor.execute(TABLE_ROWS, [f'"{queryset.model._meta.db_table}"'])
            estimate = cursor.fetchone()[0] or 0
        if estimate > COUNT_CAP:
            return Count(estimate, f"about {estimate:,}"), None
    keys = list(queryset.order_by().values_list("pk", flat=True)[: COUNT_CAP + 1])
    if len(keys) > COUNT_CAP:
        return Count(len(keys), f"more than {COUNT_CAP:,}"), None
    return Count(len(keys)), keys


@contextmanager
def _by_index() -> Iterator[None]:
    """Keep the planner from reading a table in order to find the first rows of a common value.

    It expects them to be spread evenly, while new rows stand at the end of millions.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        yield
        cursor.execute("SET LOCAL enable_seqscan TO DEFAULT")


class EstimatedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages by number, without a full count."""

    @cached_property
    def count(self) -> int:
        assert isinstance(self.object_list, QuerySet)  # noqa: S101  what the admin gives it
        return _count_with_keys(self.object_list)[0]


class KeysetChangeList(ChangeList):
    """Rows by key, the newest first; a page begins behind the last row of the one before.

    The page parameter is `after:<key>` (older rows), `before:<key>` (newer ones) or `oldest`.
    """

    newer: str | None = None
    older: str | None = None

    def get_results(self, request: HttpRequest) -> None:
        with _by_index():
            self.result_count, keys = _count_with_keys(self.queryset)
            rows = self._page(request.GET.get(PAGE_VAR, ""), keys)
        self.result_list = rows
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(rows)
        self.can_show_all = False
        self.multi_page = bool(self.newer or self.older)
        self.paginator = EstimatedPaginator(self.queryset, self.list_per_page)

    @property
    def oldest(self) -> str:
        return self.get_query_string({PAGE_VAR: "oldest"})

    @property
    def newest(self) -> str:
        return self.get_query_string()

    def _page(self, place: str, keys: list[Any] | None) -> list[Model]:
        """The rows of a page, and the links to its neighbours.

        With all `keys` of the list at hand, rare rows need not be searched among millions.
        """
        side, _, text = place.partition(":")
        try:
            key = self.lookup_opts.pk.to_python(text) if side in ("after", "before") else None
        except ValidationError:
            key = None
        older_first = side == "oldest" or (side == "before" and key is not None)
        rows = self.queryset.order_by("pk" if older_first else "-pk")
        if keys is not None:
            beyond = [k for k in keys if key is None or (k > key if older_first else k < key)]
            wanted = sorted(beyond, reverse=not older_first)[: self.list_per_page + 1]
            rows = rows.filter(pk__in=wanted)
        elif key is not None:
            rows = rows.filter(pk__gt=key) if older_first else rows.filter(pk__lt=key)
        found = list(rows[: self.list_per_page + 1])
        more, found = len(found) > self.list_per_page, found[: self.list_per_page]
        if older_first:
            found.reverse()
        has_newer = more if older_first else key is not None
        has_older = side == "before" if older_first else more
        if found and has_newer:
            self.newer = self.get_query_string({PAGE_VAR: f"before:{found[0].pk}"})
        if found and has_older:
            self.older = self.get_query_string({PAGE_VAR: f"after:{found[-1].pk}"})
        return found


class KeysetAdmin(ModelAdmin):
    """A model admin whose list stays quick with millions of rows.

    The order is that of the key, so columns cannot be sorted by; filters must not need a DISTINCT
    (fields with choices, or filters of their own).
    """

    change_list_template = "admin/keyset_change_list.html"
    paginator = EstimatedPaginator
    ordering = ["-pk"]
    sortable_by: ClassVar[list[str]] = []
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_number: ClassVar[str] = ""
    """One of `search_fields` that holds numbers."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows of which one of `search_fields` equals the term."""
        term = search_term.strip()
        if not term:
            return queryset, False
        texts = [name for name in self.search_fields if name != self.search_number]
        found = Q(*((name, term) for name in texts), _connector=Q.OR)
        if self.search_number and term.isascii() and term.isdecimal():
            found |= Q((self.search_number, int(term[:20])))
        return (queryset.filter(found) if found else queryset.none()), False
