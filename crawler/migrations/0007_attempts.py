"""Chunks and sources number their attempts and name the process that holds them.

See `jobs.0006_attempts`, which makes the table of attempts.

Lock: ACCESS EXCLUSIVE on crawl_sources and job_chunks for an instant; nothing is rewritten.
Back: drops the columns.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("crawler", "0006_source_kinds"),
        ("jobs", "0006_attempts"),
    ]

    operations = [
        migrations.AddField(
            model_name="crawlsource",
            name="attempt_count",
            field=models.IntegerField(
                db_default=0, help_text="How often it was claimed; numbers the attempts."
            ),
        ),
        migrations.AddField(
            model_name="crawlsource",
            name="worker",
            field=models.CharField(
                blank=True,
                help_text="The worker process that holds, or last held, the row: name@host:pid.",
                max_length=255,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="jobchunk",
            name="attempt_count",
            field=models.IntegerField(
                db_default=0, help_text="How often it was claimed; numbers the attempts."
            ),
        ),
        migrations.AddField(
            model_name="jobchunk",
            name="worker",
            field=models.CharField(
                blank=True,
                help_text="The worker process that holds, or last held, the row: name@host:pid.",
                max_length=255,
                null=True,
            ),
        ),
    ]
