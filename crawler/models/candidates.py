"""A candidate: an address that may become an image, and how that ended."""

from django.db import models
from django.db.models import Q

from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex

MAX_TRIES = 3


class Outcome(models.TextChoices):
    """Every way in which a candidate can end; people see how many ended with which."""

    STORED = "stored"
    DUPLICATE_URL = "duplicate_url"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    ROBOTS = "robots"
    OPTED_OUT = "opted_out"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    THROTTLED = "throttled"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    TOO_SLOW = "too_slow"
    BLOCKED_ADDRESS = "blocked_address"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    NOT_AN_IMAGE = "not_an_image"
    BAD_FORMAT = "bad_format"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    TOO_SMALL = "too_small"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_LARGE = "too_large"
    ASPECT = "aspect"
    LICENCE = "licence"
    DECODER_CRASH = "decoder_crash"
    SURPLUS = "surplus"


class Candidate(models.Model):
    """A candidate is open (no outcome, no chunk), in flight (a chunk holds it) or closed (an outcome)."""

    id = models.BigAutoField(primary_key=True)
    job = NamedForeignKey("crawler.CrawlJob", models.CASCADE, related_name="candidates")
    chunk = NamedForeignKey(
        "crawler.JobChunk",
        models.SET_NULL,
        null=True,
        related_name="candidates",
        help_text="The chunk that holds it, or that closed it.",
    )
    url = models.TextField(help_text="An http(s) or file address.")
    url_key = models.BinaryField(max_length=32, help_text="sha256 of the canonical URL.")
    host = models.CharField(max_length=255)
    label = models.CharField(max_length=100, db_default="")
    provenance = models.JSONField(
        null=True, help_text="What the source said: source, title, creator, licence, landing page."
    )
    outcome = models.CharField(max_length=20, choices=Outcome, null=True)
    detail = models.TextField(null=True, help_text="The refusal in words, or the signal behind it.")
    tries = models.SmallIntegerField(db_default=0)
    not_before = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)

    class Meta:
        db_table = "candidates"
        indexes = [
            # The claim for a chunk: open candidates of its job in the order in which they were found.
            NamedIndex(
                fields=["job", "id"],
                name="ix_candidates_open",
                condition=Q(outcome__isnull=True, chunk__isnull=True),
            ),
            # How many of a host are in flight in all workers together.
            NamedIndex(
                fields=["host"],
                name="ix_candidates_in_flight",
                condition=Q(outcome__isnull=True, chunk__isnull=False),
            ),
            # The candidates that a chunk holds: freed when its worker dies, or the chunk is deleted.
            NamedIndex(fields=["chunk"], name="ix_candidates_chunk_id"),
            # The closed candidates of a job by outcome.
            NamedIndex(fields=["job", "outcome"], name="ix_candidates_job_outcome"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["job", "url_key"], name="uq_candidates_job_url_key"),
            models.CheckConstraint(
                name="ck_candidates_outcome_valid",
                condition=Q(outcome__isnull=True) | Q(outcome__in=Outcome.values),
            ),
        ]

    def __str__(self) -> str:
        return self.url
