"""A host that does not answer costs its other candidates nothing.

Two more outcomes: `bad_answer`, an answer that is no sound HTTP, which was called `connect`; and
`host_down`, a candidate that was not sent, since its host did not answer for too long.
`candidates.waiting_since` says since when a candidate is not sent. From here on
`candidates.host` of new rows has the port, unless it is the scheme's own; rows from before keep
the bare name, under which they are limited together.

Lock: ACCESS EXCLUSIVE on candidates for an instant each; the rows are read under a lock that blocks
neither readers nor writers. Back: such candidates, and the counts of their jobs, become `connect`
and `surplus`; the column is dropped.
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
    "bad_answer",
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
    "host_down",
    "surplus",
]

RENAME = """
UPDATE candidates SET outcome = CASE outcome WHEN 'bad_answer' THEN 'connect' ELSE 'surplus' END
WHERE outcome IN ('bad_answer', 'host_down');
UPDATE crawl_jobs SET outcomes = (
    SELECT jsonb_object_agg(name, count) FROM (
        SELECT CASE key WHEN 'bad_answer' THEN 'connect'
                        WHEN 'host_down' THEN 'surplus' ELSE key END AS name,
            sum(value::int) AS count
        FROM jsonb_each_text(outcomes) GROUP BY name) renamed)
WHERE outcomes ?| ARRAY['bad_answer', 'host_down'];
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("crawler", "0009_addresses_as_found")]

    operations = [
        migrations.AddField(
            model_name="candidate",
            name="waiting_since",
            field=models.DateTimeField(
                help_text="Since when it is not sent because its host rests.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="candidate",
            name="host",
            field=models.CharField(
                help_text="With the port, unless it is the scheme's own.", max_length=255
            ),
        ),
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
