"""Crawl jobs, chunks and images get what the queue and provenance need; sources and candidates.

Every column is null or has a constant default. Autovacuum of the tables whose rows change most does
not wait for the default 20 % of a large table: a work row is updated two to four times in its life,
and the claim index would fill with dead entries.

Lock: ACCESS EXCLUSIVE on projects, crawl_jobs, images and job_chunks for an instant: nothing is
rewritten; two new tables. Back: drops the columns and the new tables, and with them leases, outcomes,
hashes, provenance and sources. Projects of the system (without an owner) must be given one first.
"""

from django.db import migrations, models

from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.indexes import NamedIndex

HOT_TABLES = ("job_chunks", "crawl_sources", "candidates", "crawl_jobs")
SETTINGS = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_analyze_scale_factor": "0.02",
    "autovacuum_analyze_threshold": "1000",
    "autovacuum_vacuum_cost_delay": "0",
}


class Migration(migrations.Migration):
    replaces = [
        ("crawler", "0003_work_columns"),
        ("crawler", "0004_sources_and_candidates"),
        ("crawler", "0009_autovacuum"),
    ]

    dependencies = [
        ("accounts", "0002_user_tier"),
        ("crawler", "0002_job_chunks"),
        ("jobs", "0003_columns"),
    ]

    operations = [
        migrations.AddField(
            model_name="crawljob",
            name="chunk_size",
            field=models.IntegerField(db_default=50, help_text="Images per chunk."),
        ),
        migrations.AddField(
            model_name="crawljob",
            name="error_message",
            field=models.TextField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="crawljob",
            name="options",
            field=models.JSONField(
                blank=True,
                db_default=models.Value({}, models.JSONField()),
                help_text="Limits and checks of this crawl; empty means the defaults.",
            ),
        ),
        migrations.AddField(
            model_name="crawljob",
            name="outcomes",
            field=models.JSONField(
                blank=True,
                db_default=models.Value({}, models.JSONField()),
                help_text="How many candidates ended with which outcome.",
            ),
        ),
        migrations.AddField(
            model_name="crawljob",
            name="priority",
            field=models.IntegerField(db_default=5, help_text="0 to 10; higher is more urgent."),
        ),
        migrations.AddField(
            model_name="image",
            name="chunk",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=models.SET_NULL,
                related_name="images",
                to="crawler.jobchunk",
            ),
        ),
        migrations.AddField(
            model_name="image",
            name="created_at",
            field=models.DateTimeField(db_default=TransactionNow(), editable=False, null=True),
        ),
        migrations.AddField(
            model_name="image",
            name="image_index",
            field=models.IntegerField(null=True),
        ),
        migrations.AddField(
            model_name="image",
            name="label",
            field=models.CharField(db_default="", max_length=100),
        ),
        migrations.AddField(
            model_name="image",
            name="near_duplicate_of",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=models.SET_NULL,
                related_name="near_duplicates",
                to="crawler.image",
            ),
        ),
        migrations.AddField(
            model_name="image",
            name="phash",
            field=models.BigIntegerField(
                help_text="64-bit perceptual hash, as signed integer.", null=True
            ),
        ),
        migrations.AddField(
            model_name="image",
            name="provenance",
            field=models.JSONField(
                help_text="source, source_id, landing_page, title, creator, licence, licence_url, attribution.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="image",
            name="retrieved_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="image",
            name="sha256",
            field=models.CharField(max_length=64, null=True),
        ),
        migrations.AddField(
            model_name="jobchunk",
            name="available_at",
            field=models.DateTimeField(
                blank=True, help_text="Not before this time (backoff, schedule).", null=True
            ),
        ),
        migrations.AddField(
            model_name="jobchunk",
            name="finished_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="jobchunk",
            name="held",
            field=models.BooleanField(
                db_default=False,
                help_text="Not eligible: its job is paused or cancelled, or its time has not come.",
            ),
        ),
        migrations.AddField(
            model_name="jobchunk",
            name="lease_expires_at",
            field=models.DateTimeField(
                blank=True,
                help_text="Renewed by the worker's heartbeat; passed: rescued.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="jobchunk",
            name="lease_id",
            field=models.BigIntegerField(
                blank=True, help_text="Fencing token, new at every claim.", null=True
            ),
        ),
        migrations.AddField(
            model_name="jobchunk",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                help_text="Whose window counts. Empty: the system itself, without a window.",
                null=True,
                on_delete=models.CASCADE,
                related_name="+",
                to="accounts.profile",
            ),
        ),
        migrations.AddField(
            model_name="jobchunk",
            name="ready_at",
            field=models.DateTimeField(
                blank=True,
                help_text="Set: may be claimed, and its place among equals. Empty: waits for its owner's window.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="jobchunk",
            name="started_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="project",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                db_column="user_id",
                db_constraint=False,
                db_index=False,
                help_text="Empty: the system itself.",
                null=True,
                on_delete=models.CASCADE,
                related_name="projects",
                to="accounts.profile",
            ),
        ),
        migrations.CreateModel(
            name="Candidate",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("url", models.TextField(help_text="An http(s) or file address.")),
                (
                    "url_key",
                    models.BinaryField(help_text="sha256 of the canonical URL.", max_length=32),
                ),
                ("host", models.CharField(max_length=255)),
                ("label", models.CharField(db_default="", max_length=100)),
                (
                    "provenance",
                    models.JSONField(
                        help_text="What the source said: source, title, creator, licence, landing page.",
                        null=True,
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("stored", "Stored"),
                            ("duplicate_url", "Duplicate Url"),
                            ("duplicate", "Duplicate"),
                            ("near_duplicate", "Near Duplicate"),
                            ("robots", "Robots"),
                            ("opted_out", "Opted Out"),
                            ("http_4xx", "Http 4Xx"),
                            ("http_5xx", "Http 5Xx"),
                            ("throttled", "Throttled"),
                            ("dns", "Dns"),
                            ("connect", "Connect"),
                            ("tls", "Tls"),
                            ("timeout", "Timeout"),
                            ("too_slow", "Too Slow"),
                            ("blocked_address", "Blocked Address"),
                            ("too_many_redirects", "Too Many Redirects"),
                            ("not_an_image", "Not An Image"),
                            ("bad_format", "Bad Format"),
                            ("truncated", "Truncated"),
                            ("corrupt", "Corrupt"),
                            ("too_small", "Too Small"),
                            ("too_many_pixels", "Too Many Pixels"),
                            ("too_large", "Too Large"),
                            ("aspect", "Aspect"),
                            ("licence", "Licence"),
                            ("decoder_crash", "Decoder Crash"),
                            ("surplus", "Surplus"),
                        ],
                        max_length=20,
                        null=True,
                    ),
                ),
                (
                    "detail",
                    models.TextField(
                        help_text="The refusal in words, or the signal behind it.", null=True
                    ),
                ),
                ("tries", models.SmallIntegerField(db_default=0)),
                ("not_before", models.DateTimeField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=TransactionNow(), editable=False),
                ),
            ],
            options={
                "db_table": "candidates",
            },
        ),
        migrations.CreateModel(
            name="CrawlSource",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("processing", "processing"),
                            ("completed", "completed"),
                            ("failed", "failed"),
                        ],
                        db_default="pending",
                        max_length=20,
                    ),
                ),
                (
                    "priority",
                    models.IntegerField(db_default=5, help_text="0 to 10; higher is more urgent."),
                ),
                (
                    "held",
                    models.BooleanField(
                        db_default=False,
                        help_text="Not eligible: its job is paused or cancelled, or its time has not come.",
                    ),
                ),
                (
                    "ready_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Set: may be claimed, and its place among equals. Empty: waits for its owner's window.",
                        null=True,
                    ),
                ),
                (
                    "available_at",
                    models.DateTimeField(
                        blank=True, help_text="Not before this time (backoff, schedule).", null=True
                    ),
                ),
                (
                    "lease_id",
                    models.BigIntegerField(
                        blank=True, help_text="Fencing token, new at every claim.", null=True
                    ),
                ),
                (
                    "lease_expires_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Renewed by the worker's heartbeat; passed: rescued.",
                        null=True,
                    ),
                ),
                ("retry_count", models.IntegerField(db_default=0)),
                ("error_message", models.TextField(blank=True, null=True)),
                (
                    "task_id",
                    models.CharField(
                        blank=True,
                        help_text="The Celery task that holds, or last held, the row.",
                        max_length=255,
                        null=True,
                    ),
                ),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=TransactionNow(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(auto_now=True, db_default=TransactionNow()),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("folder", "folder on the worker's machine"),
                            ("urls", "list of URLs"),
                            ("sitemap", "sitemap of a site"),
                            ("page", "pictures of a page"),
                        ],
                        max_length=20,
                    ),
                ),
                ("location", models.TextField(help_text="A path or URL.")),
                (
                    "label",
                    models.CharField(
                        blank=True,
                        db_default="",
                        help_text="Class label of what it finds.",
                        max_length=100,
                    ),
                ),
                (
                    "options",
                    models.JSONField(
                        blank=True,
                        db_default=models.Value({}, models.JSONField()),
                        help_text="Options of this kind of source, such as url_column.",
                    ),
                ),
                ("cursor", models.JSONField(blank=True, editable=False, null=True)),
                ("found", models.IntegerField(db_default=0, help_text="Candidates found so far.")),
                (
                    "rejected",
                    models.IntegerField(
                        db_default=0,
                        help_text="Entries that are no usable address (malformed, wrong scheme).",
                    ),
                ),
                (
                    "rejection",
                    models.TextField(
                        blank=True, help_text="The first rejected entries, and why.", null=True
                    ),
                ),
            ],
            options={
                "db_table": "crawl_sources",
            },
        ),
        migrations.AddField(
            model_name="candidate",
            name="chunk",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                help_text="The chunk that holds it, or that closed it.",
                null=True,
                on_delete=models.SET_NULL,
                related_name="candidates",
                to="crawler.jobchunk",
            ),
        ),
        migrations.AddField(
            model_name="candidate",
            name="job",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=models.CASCADE,
                related_name="candidates",
                to="crawler.crawljob",
            ),
        ),
        migrations.AddField(
            model_name="crawlsource",
            name="job",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=models.CASCADE,
                related_name="sources",
                to="crawler.crawljob",
            ),
        ),
        migrations.AddField(
            model_name="crawlsource",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                help_text="Whose window counts. Empty: the system itself, without a window.",
                null=True,
                on_delete=models.CASCADE,
                related_name="+",
                to="accounts.profile",
            ),
        ),
        migrations.AddIndex(
            model_name="candidate",
            index=NamedIndex(
                condition=models.Q(("chunk__isnull", True), ("outcome__isnull", True)),
                fields=["job", "id"],
                name="ix_candidates_open",
            ),
        ),
        migrations.AddIndex(
            model_name="candidate",
            index=NamedIndex(
                condition=models.Q(("chunk__isnull", False), ("outcome__isnull", True)),
                fields=["host"],
                name="ix_candidates_in_flight",
            ),
        ),
        migrations.AddIndex(
            model_name="candidate",
            index=NamedIndex(fields=["chunk"], name="ix_candidates_chunk_id"),
        ),
        migrations.AddIndex(
            model_name="candidate",
            index=NamedIndex(fields=["job", "outcome"], name="ix_candidates_job_outcome"),
        ),
        migrations.AddConstraint(
            model_name="candidate",
            constraint=models.UniqueConstraint(
                fields=("job", "url_key"), name="uq_candidates_job_url_key"
            ),
        ),
        migrations.AddConstraint(
            model_name="candidate",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("outcome__isnull", True),
                    (
                        "outcome__in",
                        [
                            "stored",
                            "duplicate_url",
                            "duplicate",
                            "near_duplicate",
                            "robots",
                            "opted_out",
                            "http_4xx",
                            "http_5xx",
                            "throttled",
                            "dns",
                            "connect",
                            "tls",
                            "timeout",
                            "too_slow",
                            "blocked_address",
                            "too_many_redirects",
                            "not_an_image",
                            "bad_format",
                            "truncated",
                            "corrupt",
                            "too_small",
                            "too_many_pixels",
                            "too_large",
                            "aspect",
                            "licence",
                            "decoder_crash",
                            "surplus",
                        ],
                    ),
                    _connector="OR",
                ),
                name="ck_candidates_outcome_valid",
            ),
        ),
        migrations.AddIndex(
            model_name="crawlsource",
            index=NamedIndex(fields=["job"], name="ix_crawl_sources_job_id"),
        ),
        migrations.AddIndex(
            model_name="crawlsource",
            index=NamedIndex(
                models.OrderBy(models.F("priority"), descending=True),
                models.F("ready_at"),
                models.F("id"),
                condition=models.Q(("ready_at__isnull", False), ("status", "pending")),
                name="ix_crawl_sources_claim",
            ),
        ),
        migrations.AddIndex(
            model_name="crawlsource",
            index=NamedIndex(
                models.F("owner"),
                models.OrderBy(models.F("priority"), descending=True),
                models.F("created_at"),
                models.F("id"),
                condition=models.Q(
                    ("held", False), ("ready_at__isnull", True), ("status", "pending")
                ),
                name="ix_crawl_sources_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="crawlsource",
            index=NamedIndex(
                condition=models.Q(("owner__isnull", False), ("ready_at__isnull", False)),
                fields=["owner"],
                name="ix_crawl_sources_window",
            ),
        ),
        migrations.AddIndex(
            model_name="crawlsource",
            index=NamedIndex(
                condition=models.Q(("available_at__isnull", False), ("held", True)),
                fields=["available_at"],
                name="ix_crawl_sources_available",
            ),
        ),
        migrations.AddConstraint(
            model_name="crawlsource",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("status__in", ["pending", "processing", "completed", "failed"])
                ),
                name="ck_crawl_sources_status_valid",
            ),
        ),
        migrations.AddConstraint(
            model_name="crawlsource",
            constraint=models.CheckConstraint(
                condition=models.Q(("priority__gte", 0), ("priority__lte", 10)),
                name="ck_crawl_sources_priority_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="crawlsource",
            constraint=models.CheckConstraint(
                condition=models.Q(("retry_count__gte", 0)),
                name="ck_crawl_sources_retry_count_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="crawlsource",
            constraint=models.CheckConstraint(
                condition=models.Q(("held", False), ("ready_at__isnull", True), _connector="OR"),
                name="ck_crawl_sources_held_not_ready",
            ),
        ),
        migrations.AddConstraint(
            model_name="crawlsource",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["folder", "urls", "sitemap", "page"])),
                name="ck_crawl_sources_kind_valid",
            ),
        ),
        migrations.AddIndex(
            model_name="crawlsource",
            index=NamedIndex(
                condition=models.Q(
                    models.Q(
                        ("finished_at__isnull", True), ("status__in", ["completed", "failed"])
                    ),
                    models.Q(("finished_at__isnull", False), ("status", "pending")),
                    _connector="OR",
                ),
                fields=["id"],
                name="ix_crawl_sources_unsettled",
            ),
        ),
        migrations.AddIndex(
            model_name="crawlsource",
            index=NamedIndex(
                condition=models.Q(("finished_at__isnull", False)),
                fields=["finished_at"],
                name="ix_crawl_sources_finished",
            ),
        ),
        *[
            migrations.RunSQL(
                f"ALTER TABLE {table} SET ({', '.join(f'{k} = {v}' for k, v in SETTINGS.items())})",
                f"ALTER TABLE {table} RESET ({', '.join(SETTINGS)})",
            )
            for table in HOT_TABLES
        ],
    ]
