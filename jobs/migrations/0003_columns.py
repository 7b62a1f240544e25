"""Jobs become work items of the queue; where their params came from; thumbnails; database defaults.

Every column is null or has a constant default. With defaults in the database a plain INSERT of the
documented columns works from anywhere; rows that exist keep their values. Each claim of a work item
takes the next number of `work_lease_id_seq` as its fencing token. `params_source` is empty where
the params came with the job: jobs from before `params` have `{}`, and `manage.py db backfill run
params-from-payloads` fills them and says so here.

Adopted work must not spend money by itself: jobs that were pending when `db adopt` took their
database over are held from the moment the column exists. Adoption, which comes before the column,
leaves their keys in `adoption_held_jobs`. In other databases no job is held.

Lock: ACCESS EXCLUSIVE on workspaces, assets and jobs for an instant, and on jobs for as long as it
takes to hold the adopted ones; nothing is rewritten. Back: drops columns, defaults and sequence,
and with them leases, prices, idempotency keys and which jobs are held; params that were filled
stay. Going forward again holds those adopted jobs that are still pending.
"""

from django.db import migrations, models

from pixsim.core.db.expressions import TransactionNow

HOLD_ADOPTED = """
DO $$
BEGIN
    IF to_regclass('adoption_held_jobs') IS NOT NULL THEN
        UPDATE jobs SET held = true FROM adoption_held_jobs AS adopted
        WHERE jobs.id = adopted.id AND jobs.status = 'pending';
    END IF;
END $$
"""


class Migration(migrations.Migration):
    replaces = [
        ("jobs", "0003_defaults"),
        ("jobs", "0005_work_lease_sequence"),
        ("jobs", "0006_params_source"),
        ("jobs", "0008_held"),
        ("jobs", "0009_work_columns"),
    ]

    dependencies = [
        ("accounts", "0003_columns"),
        ("jobs", "0002_params"),
    ]

    operations = [
        migrations.AlterField(
            model_name="workspace",
            name="is_archived",
            field=models.BooleanField(db_default=False),
        ),
        migrations.AlterField(
            model_name="workspace",
            name="is_template",
            field=models.BooleanField(db_default=False),
        ),
        migrations.AlterField(
            model_name="workspace",
            name="is_public",
            field=models.BooleanField(db_default=False),
        ),
        migrations.AlterField(
            model_name="workspace",
            name="total_jobs",
            field=models.IntegerField(db_default=0),
        ),
        migrations.AlterField(
            model_name="workspace",
            name="total_assets",
            field=models.IntegerField(db_default=0),
        ),
        migrations.AlterField(
            model_name="workspace",
            name="total_scenes",
            field=models.IntegerField(db_default=0),
        ),
        migrations.AlterField(
            model_name="workspace",
            name="created_at",
            field=models.DateTimeField(db_default=TransactionNow(), editable=False),
        ),
        migrations.AlterField(
            model_name="workspace",
            name="updated_at",
            field=models.DateTimeField(auto_now=True, db_default=TransactionNow()),
        ),
        migrations.AlterField(
            model_name="asset",
            name="content_domain",
            field=models.CharField(
                choices=[
                    ("general", "general"),
                    ("adult", "adult"),
                    ("medical", "medical"),
                    ("sports", "sports"),
                    ("fashion", "fashion"),
                    ("education", "education"),
                ],
                db_default="general",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="content_rating",
            field=models.CharField(db_default="general", max_length=32),
        ),
        migrations.AlterField(
            model_name="asset",
            name="age_restricted",
            field=models.BooleanField(db_default=False),
        ),
        migrations.AlterField(
            model_name="asset",
            name="searchable",
            field=models.BooleanField(db_default=True),
        ),
        migrations.AlterField(
            model_name="asset",
            name="sync_status",
            field=models.CharField(
                choices=[
                    ("remote", "at the provider"),
                    ("downloading", "downloading"),
                    ("downloaded", "here"),
                    ("error", "error"),
                ],
                db_default="remote",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="created_at",
            field=models.DateTimeField(db_default=TransactionNow(), editable=False),
        ),
        migrations.AlterField(
            model_name="asset",
            name="last_accessed_at",
            field=models.DateTimeField(db_default=TransactionNow()),
        ),
        migrations.AlterField(
            model_name="job",
            name="priority",
            field=models.IntegerField(db_default=5, help_text="0 to 10; higher is more urgent."),
        ),
        migrations.AlterField(
            model_name="job",
            name="status",
            field=models.CharField(
                choices=[
                    ("pending", "pending"),
                    ("processing", "processing"),
                    ("completed", "completed"),
                    ("failed", "failed"),
                    ("cancelled", "cancelled"),
                ],
                db_default="pending",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="job",
            name="retry_count",
            field=models.IntegerField(db_default=0),
        ),
        migrations.AlterField(
            model_name="job",
            name="created_at",
            field=models.DateTimeField(db_default=TransactionNow(), editable=False),
        ),
        migrations.RunSQL(
            sql="CREATE SEQUENCE work_lease_id_seq",
            reverse_sql="DROP SEQUENCE work_lease_id_seq",
        ),
        migrations.AddField(
            model_name="job",
            name="params_source",
            field=models.CharField(
                blank=True,
                choices=[("payload", "payload of its first submission")],
                editable=False,
                help_text="Empty: they came with the job.",
                max_length=20,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="available_at",
            field=models.DateTimeField(
                blank=True, help_text="Not before this time (backoff, schedule).", null=True
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="cost",
            field=models.IntegerField(
                blank=True, editable=False, help_text="Credits it took in the end.", null=True
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="error_class",
            field=models.CharField(blank=True, editable=False, max_length=32, null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="estimate",
            field=models.IntegerField(
                blank=True, editable=False, help_text="Credits held for it.", null=True
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="idempotency_key",
            field=models.CharField(
                blank=True,
                help_text="Makes one job, however often it is sent.",
                max_length=100,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="lease_expires_at",
            field=models.DateTimeField(
                blank=True,
                help_text="Renewed by the worker's heartbeat; passed: rescued.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="lease_id",
            field=models.BigIntegerField(
                blank=True, help_text="Fencing token, new at every claim.", null=True
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="model",
            field=models.CharField(
                blank=True,
                help_text="Of the provider. Empty: its default.",
                max_length=100,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                help_text="Whose window counts: the user's profile. Empty: the system itself.",
                null=True,
                on_delete=models.SET_NULL,
                related_name="+",
                to="accounts.profile",
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="params_hash",
            field=models.CharField(
                blank=True,
                editable=False,
                help_text="sha256 of the params.",
                max_length=64,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="ready_at",
            field=models.DateTimeField(
                blank=True,
                help_text="Set: may be claimed, and its place among equals. Empty: waits for its owner's window.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="run",
            field=models.IntegerField(
                db_default=0, editable=False, help_text="How often it was started anew by hand."
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="task_id",
            field=models.CharField(
                blank=True,
                help_text="The Celery task that holds, or last held, the row.",
                max_length=255,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="updated_at",
            field=models.DateTimeField(auto_now=True, db_default=TransactionNow()),
        ),
        migrations.AddField(
            model_name="asset",
            name="thumbnail_sha256",
            field=models.CharField(blank=True, editable=False, max_length=64, null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="held",
            field=models.BooleanField(
                db_default=False,
                help_text="Waits: for its time, its parent job, a retry, or, if it was adopted, for an admin.",
            ),
        ),
        migrations.RunSQL(HOLD_ADOPTED, migrations.RunSQL.noop),
    ]
