"""`jobs.held`: waiting until somebody releases it. Adopted work must not spend money by itself.

Jobs that were pending when `db adopt` took their database over are held; adoption, which comes
before this column, leaves their keys in `adoption_held_jobs`. In other databases none is.

Lock: ACCESS EXCLUSIVE on jobs for a moment (a constant default rewrites nothing), then the rows of
the adopted jobs. Back: drops the column, and with it which jobs are held; going forward again
holds those adopted jobs that are still pending.
"""

from django.db import migrations, models

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
    dependencies = [("jobs", "0007_params_source_valid")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="held",
            field=models.BooleanField(
                db_default=False,
                help_text="Waits until it is released, as jobs of an adopted database do.",
            ),
        ),
        migrations.RunSQL(HOLD_ADOPTED, migrations.RunSQL.noop),
    ]
