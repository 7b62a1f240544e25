"""The sequence of fencing tokens: every claim of a work item takes the next number.

Lock: a new object only. Back: drops it; leases that were given out end then.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0004_file_size_bigint")]

    operations = [
        migrations.RunSQL(
            sql="CREATE SEQUENCE work_lease_id_seq",
            reverse_sql="DROP SEQUENCE work_lease_id_seq",
        )
    ]
