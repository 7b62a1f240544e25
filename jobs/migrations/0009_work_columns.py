"""Jobs become work items of the queue: what a claim under a lease needs, price and idempotency key.

Every column is null or has a constant default, so nothing is rewritten.
Lock: ACCESS EXCLUSIVE on jobs for an instant; the check and the foreign key are validated by 0010.
Back: drops the columns, and with them leases, prices and idempotency keys.
"""

import django.db.models.deletion
from django.conf import settings
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

import pixsim.core.db.expressions
from pixsim.core.db.operations import AddForeignKey


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0012_ledger_unique"),
        ("jobs", "0008_held"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
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
                on_delete=django.db.models.deletion.SET_NULL,
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
            field=models.DateTimeField(
                auto_now=True, db_default=pixsim.core.db.expressions.TransactionNow()
            ),
        ),
        migrations.AlterField(
            model_name="job",
            name="held",
            field=models.BooleanField(
                db_default=False,
                help_text="Waits: for its time, its parent job, a retry, or, if it was adopted, for an admin.",
            ),
        ),
        AddConstraintNotValid(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(("held", False), ("ready_at__isnull", True), _connector="OR"),
                name="ck_jobs_held_not_ready",
            ),
        ),
        AddForeignKey(
            table="jobs",
            column="owner_id",
            to="profiles",
            name="jobs_owner_id_fkey",
            on_delete="SET NULL",
            validate=False,
        ),
    ]
