"""The CHECK of 0006 holds for every job.

Lock: SHARE UPDATE EXCLUSIVE on jobs while it is read once; nobody waits for it.
Back: nothing to undo.
"""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0006_params_source")]

    operations = [ValidateConstraint("job", "ck_jobs_params_source_valid")]
