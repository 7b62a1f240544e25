"""Where a crawl job's candidates come from, and how far discovery has read."""

from django.db import models

from jobs.queue.items import WorkItem, queue_constraints, queue_indexes, work_constraints
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex


class CrawlSource(WorkItem):
    """One source of a job. Discovery is work of its own: this row is claimed like a chunk.

    `cursor` is the source's own bookmark (null: not begun); it advances in the transaction that
    inserts the candidates it stands for. Discovery that has enough waiting candidates gives the
    row back held, until chunks run low.
    """

    job = NamedForeignKey("crawler.CrawlJob", models.CASCADE, related_name="sources")
    kind = models.CharField(max_length=20, help_text="A folder's name in crawler/sources.")
    location = models.TextField(help_text="A path or URL.")
    label = models.CharField(
        max_length=100, blank=True, db_default="", help_text="Class label of what it finds."
    )
    options = models.JSONField(
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text="Options of this kind of source, such as url_column.",
    )
    cursor = models.JSONField(null=True, blank=True, editable=False)
    found = models.IntegerField(db_default=0, help_text="Candidates found so far.")
    rejected = models.IntegerField(
        db_default=0, help_text="Entries that are no usable address (malformed, wrong scheme)."
    )
    rejection = models.TextField(
        null=True, blank=True, help_text="The first rejected entries, and why."
    )

    class Meta:
        db_table = "crawl_sources"
        indexes = [
            NamedIndex(fields=["job"], name="ix_crawl_sources_job_id"),
            *queue_indexes("crawl_sources"),
        ]
        constraints = [
            *work_constraints("crawl_sources"),
            *queue_constraints("crawl_sources"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.location}"
