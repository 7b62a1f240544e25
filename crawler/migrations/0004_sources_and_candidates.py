"""Sources of crawl jobs, and the candidates that discovery finds.

Lock: new tables only. Back: drops them.
"""

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import pixsim.core.db.expressions
import pixsim.core.db.indexes


class Migration(migrations.Migration):
    dependencies = [("crawler", "0003_work_columns")]

    operations = [
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
                    models.DateTimeField(
                        db_default=pixsim.core.db.expressions.TransactionNow(), editable=False
                    ),
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
                    models.DateTimeField(
                        db_default=pixsim.core.db.expressions.TransactionNow(), editable=False
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True, db_default=pixsim.core.db.expressions.TransactionNow()
                    ),
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
                on_delete=django.db.models.deletion.SET_NULL,
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
                on_delete=django.db.models.deletion.CASCADE,
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
                on_delete=django.db.models.deletion.CASCADE,
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
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="accounts.profile",
            ),
        ),
        migrations.AddIndex(
            model_name="candidate",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("chunk__isnull", True), ("outcome__isnull", True)),
                fields=["job", "id"],
                name="ix_candidates_open",
            ),
        ),
        migrations.AddIndex(
            model_name="candidate",
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("chunk__isnull", False), ("outcome__isnull", True)),
                fields=["host"],
                name="ix_candidates_in_flight",
            ),
        ),
        migrations.AddIndex(
            model_name="candidate",
            index=pixsim.core.db.indexes.NamedIndex(
                fields=["chunk"], name="ix_candidates_chunk_id"
            ),
        ),
        migrations.AddIndex(
            model_name="candidate",
            index=pixsim.core.db.indexes.NamedIndex(
                fields=["job", "outcome"], name="ix_candidates_job_outcome"
            ),
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
            index=pixsim.core.db.indexes.NamedIndex(fields=["job"], name="ix_crawl_sources_job_id"),
        ),
        migrations.AddIndex(
            model_name="crawlsource",
            index=pixsim.core.db.indexes.NamedIndex(
                models.OrderBy(models.F("priority"), descending=True),
                models.F("ready_at"),
                models.F("id"),
                condition=models.Q(("ready_at__isnull", False), ("status", "pending")),
                name="ix_crawl_sources_claim",
            ),
        ),
        migrations.AddIndex(
            model_name="crawlsource",
            index=pixsim.core.db.indexes.NamedIndex(
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
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("owner__isnull", False), ("ready_at__isnull", False)),
                fields=["owner"],
                name="ix_crawl_sources_window",
            ),
        ),
        migrations.AddIndex(
            model_name="crawlsource",
            index=pixsim.core.db.indexes.NamedIndex(
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
            index=pixsim.core.db.indexes.NamedIndex(
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
            index=pixsim.core.db.indexes.NamedIndex(
                condition=models.Q(("finished_at__isnull", False)),
                fields=["finished_at"],
                name="ix_crawl_sources_finished",
            ),
        ),
    ]
