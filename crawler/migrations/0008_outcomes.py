"""Two more outcomes: `too_costly` and `host_refused`.

A picture that would take too long is refused by what its header says, and a host whose pictures
ended the decoder three times is refused for the job.

Lock: ACCESS EXCLUSIVE on candidates for an instant each; the rows are read under a lock that blocks
neither readers nor writers. Back: such candidates, and the counts of their jobs, become
`decoder_crash` and `surplus`.
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
    "too_costly",
    "decoder_crash",
    "host_refused",
    "surplus",
]

RENAME = """
UPDATE candidates SET outcome = CASE outcome
    WHEN 'too_costly' THEN 'decoder_crash' ELSE 'surplus' END
WHERE outcome IN ('too_costly', 'host_refused');
UPDATE crawl_jobs SET outcomes = (
    SELECT jsonb_object_agg(name, count) FROM (
        SELECT CASE key WHEN 'too_costly' THEN 'decoder_crash'
                        WHEN 'host_refused' THEN 'surplus' ELSE key END AS name,
            sum(value::int) AS count
        FROM jsonb_each_text(outcomes) GROUP BY name) renamed)
WHERE outcomes ?| ARRAY['too_costly', 'host_refused'];
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("crawler", "0007_attempts")]

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
