"""Tables of attempts (what each worker did with an item, when, how it ended) and of live workers,
and of what people have paused.

The statement that ends an attempt writes its row. Each claim takes the next number from the item's
`attempt_count`, and leaves the name of its process in `worker`; items that were claimed before have
number 0. Code from before writes neither, and its attempts are not recorded.

Lock: ACCESS EXCLUSIVE on jobs for an instant; nothing is rewritten. Back: drops the three tables,
and with them the history of attempts and the pauses, and the two columns.
"""

from django.db import migrations, models

import pixsim.core.db.expressions
import pixsim.core.db.indexes


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0005_indexes_and_constraints"),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="attempt_count",
            field=models.IntegerField(
                db_default=0, help_text="How often it was claimed; numbers the attempts."
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="worker",
            field=models.CharField(
                blank=True,
                help_text="The worker process that holds, or last held, the row: name@host:pid.",
                max_length=255,
                null=True,
            ),
        ),
        migrations.CreateModel(
            name="WorkAttempt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        help_text="The kind of work: chunk, discovery, generation.", max_length=20
                    ),
                ),
                ("item_id", models.IntegerField(help_text="The key of the chunk, source or job.")),
                (
                    "number",
                    models.IntegerField(help_text="Which claim of the item it was, from 1."),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("completed", "completed"),
                            ("retry", "failed, tried again"),
                            ("failed", "failed"),
                            ("lost", "worker died or stalled"),
                            ("given_back", "stopped, given back"),
                            ("taken", "taken from the worker by hand"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "worker",
                    models.CharField(
                        blank=True, help_text="name@host:pid", max_length=255, null=True
                    ),
                ),
                (
                    "task_id",
                    models.CharField(
                        blank=True,
                        help_text="The Celery task in which it was done.",
                        max_length=255,
                        null=True,
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField()),
                (
                    "error_class",
                    models.CharField(
                        blank=True,
                        help_text="The kind of error; empty without one.",
                        max_length=100,
                        null=True,
                    ),
                ),
                ("error_message", models.TextField(blank=True, null=True)),
                (
                    "details",
                    models.JSONField(
                        blank=True,
                        help_text="What it did, in numbers: pictures stored, bytes …",
                        null=True,
                    ),
                ),
            ],
            options={
                "db_table": "work_attempts",
                "indexes": [
                    pixsim.core.db.indexes.NamedIndex(
                        fields=["ended_at"], name="ix_work_attempts_ended_at"
                    ),
                    pixsim.core.db.indexes.NamedIndex(
                        condition=models.Q(("error_class__isnull", False)),
                        fields=["error_class", "ended_at"],
                        name="ix_work_attempts_error_class",
                    ),
                    pixsim.core.db.indexes.NamedIndex(
                        condition=models.Q(("number__gt", 20)),
                        fields=["kind", "item_id"],
                        name="ix_work_attempts_many",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "item_id", "number"), name="uq_work_attempts_item_number"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "outcome__in",
                                ["completed", "retry", "failed", "lost", "given_back", "taken"],
                            )
                        ),
                        name="ck_work_attempts_outcome_valid",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "name",
                    models.CharField(help_text="Celery's node name, name@host.", max_length=255),
                ),
                ("host", models.CharField(max_length=255)),
                ("pid", models.IntegerField(help_text="Of its parent process.")),
                ("processes", models.IntegerField(help_text="How many items it works on at once.")),
                ("version", models.CharField(help_text="Of PixSim.", max_length=50)),
                (
                    "started_at",
                    models.DateTimeField(db_default=pixsim.core.db.expressions.TransactionNow()),
                ),
                (
                    "last_seen_at",
                    models.DateTimeField(db_default=pixsim.core.db.expressions.TransactionNow()),
                ),
                (
                    "is_draining",
                    models.BooleanField(
                        db_default=False,
                        help_text="It ends what it has in hand, and takes nothing more.",
                    ),
                ),
            ],
            options={
                "db_table": "workers",
                "constraints": [
                    models.UniqueConstraint(fields=("name", "pid"), name="uq_workers_name_pid")
                ],
            },
        ),
        migrations.CreateModel(
            name="QueuePause",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "scope",
                    models.CharField(
                        choices=[("kind", "kind of work"), ("owner", "owner"), ("host", "host")],
                        max_length=10,
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        help_text="A kind (chunk, discovery, generation), a profile's id, or a host name.",
                        max_length=255,
                    ),
                ),
                ("reason", models.CharField(blank=True, db_default="", max_length=255)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=pixsim.core.db.expressions.TransactionNow(), editable=False
                    ),
                ),
                ("paused_by", models.CharField(blank=True, db_default="", max_length=255)),
            ],
            options={
                "db_table": "queue_pauses",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("scope", "key"), name="uq_queue_pauses_scope_key"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("scope__in", ["kind", "owner", "host"])),
                        name="ck_queue_pauses_scope_valid",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("scope", "owner"), _negated=True),
                            ("key__regex", "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"),
                            _connector="OR",
                        ),
                        name="ck_queue_pauses_owner_is_id",
                    ),
                ],
            },
        ),
    ]
