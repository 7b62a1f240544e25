"""Database defaults for jobs, workspaces and assets.

The older system filled these in its own code; with defaults in the database a plain INSERT that
names only the documented columns works from anywhere. Rows that exist keep their values.

Lock: ACCESS EXCLUSIVE on each table for a moment; only the catalogue changes.
Back: drops the defaults.
"""

from django.db import migrations, models

from pixsim.core.db.expressions import TransactionNow


class Migration(migrations.Migration):
    dependencies = [("jobs", "0002_params")]

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
    ]
