"""What a chunk needs to be claimed under a lease, and where an image came from.

Every column is null or has a constant default, so nothing is rewritten.
Lock: ACCESS EXCLUSIVE on projects, crawl_jobs, images and job_chunks, each for an instant.
Back: drops the columns, and with them leases, outcomes, hashes and provenance. Projects of the
system (without an owner) must be given one first.
"""

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import pixsim.core.db.expressions
import pixsim.core.db.indexes


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_user_tier"),
        ("crawler", "0002_job_chunks"),
        ("jobs", "0005_work_lease_sequence"),
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
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="images",
                to="crawler.jobchunk",
            ),
        ),
        migrations.AddField(
            model_name="image",
            name="created_at",
            field=models.DateTimeField(
                db_default=pixsim.core.db.expressions.TransactionNow(), editable=False, null=True
            ),
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
                on_delete=django.db.models.deletion.SET_NULL,
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
                on_delete=django.db.models.deletion.CASCADE,
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
                on_delete=django.db.models.deletion.CASCADE,
                related_name="projects",
                to="accounts.profile",
            ),
        ),
    ]
