"""An outcome says what happened: `bad_url`, `unreadable_file` and `internal_error`.

An address that cannot be fetched as it is written, or to which nothing may be redirected, was called
`blocked_address`; a local file that cannot be read `http_4xx`; and an error of PixSim over a candidate
`corrupt`. Candidates that have ended keep what they were called.

Lock: ACCESS EXCLUSIVE on candidates for an instant each; the rows are read under a lock that blocks
neither readers nor writers. Back: such candidates, and the counts of their jobs, are called as before.
"""

from django.db import migrations, models
from django_pg_migration_tools.operations import (
    SaferAddCheckConstraint,
    SaferRemoveCheckConstraint,
)

OUTCOMES = [
    "stored",
    "duplicate_url",
    "duplicate",
    "near_duplicate",
    "robots",
    "opted_out",
    "unreadable_file",
    "http_4xx",
    "http_5xx",
    "throttled",
    "dns",
    "connect",
    "bad_answer",
    "tls",
    "timeout",
    "too_slow",
    "blocked_address",
    "bad_url",
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
    "too_costly",
    "decoder_crash",
    "internal_error",
    "host_refused",
    "host_down",
    "surplus",
]

RENAME = """
UPDATE candidates SET outcome = CASE outcome WHEN 'bad_url' THEN 'blocked_address'
    WHEN 'unreadable_file' THEN 'http_4xx' ELSE 'corrupt' END
WHERE outcome IN ('bad_url', 'unreadable_file', 'internal_error');
UPDATE crawl_jobs SET outcomes = (
    SELECT jsonb_object_agg(name, count) FROM (
        SELECT CASE key WHEN 'bad_url' THEN 'blocked_address'
                        WHEN 'unreadable_file' THEN 'http_4xx'
                        WHEN 'internal_error' THEN 'corrupt' ELSE key END AS name,
            sum(value::int) AS count
        FROM jsonb_each_text(outcomes) GROUP BY name) renamed)
WHERE outcomes ?| ARRAY['bad_url', 'unreadable_file', 'internal_error'];
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("crawler", "0011_upright_images")]

    operations = [
        SaferRemoveCheckConstraint(model_name="candidate", name="ck_candidates_outcome_valid"),
        migrations.AlterField(
            model_name="candidate",
            name="outcome",
            field=models.CharField(
                choices=[(name, name.replace("_", " ").title()) for name in OUTCOMES],
                max_length=20,
                null=True,
            ),
        ),
        SaferAddCheckConstraint(
            model_name="candidate",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("outcome__isnull", True), ("outcome__in", OUTCOMES), _connector="OR"
                ),
                name="ck_candidates_outcome_valid",
            ),
        ),
        migrations.RunSQL(migrations.RunSQL.noop, RENAME),
    ]
