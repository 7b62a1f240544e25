"""Autovacuum settings of the tables whose rows change most.

A work row is updated two to four times in its life, so waiting for the default 20 % of a large
table to die would let the claim index fill with dead entries. Lock: SHARE UPDATE EXCLUSIVE for an
instant. Back: the server's defaults.
"""

from django.db import migrations

HOT_TABLES = ("job_chunks", "crawl_sources", "candidates", "crawl_jobs")
SETTINGS = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_analyze_scale_factor": "0.02",
    "autovacuum_analyze_threshold": "1000",
    "autovacuum_vacuum_cost_delay": "0",
}


class Migration(migrations.Migration):
    dependencies = [("crawler", "0008_foreign_keys")]

    operations = [
        migrations.RunSQL(
            sql=f"ALTER TABLE {table} SET ({', '.join(f'{k} = {v}' for k, v in SETTINGS.items())})",
            reverse_sql=f"ALTER TABLE {table} RESET ({', '.join(SETTINGS)})",
        )
        for table in HOT_TABLES
    ]
