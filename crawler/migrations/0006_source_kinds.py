"""Any kind of source may be stored: which kinds there are is a matter of the installed folders.

Lock: ACCESS EXCLUSIVE on crawl_sources for an instant; no row is read or written. Back: adds the
check NOT VALID and validates it, which fails, naming the constraint, while rows of other kinds
than those of that time exist: delete them and run it again.
"""

from django.db import migrations, models
from django_pg_migration_tools.operations import SaferRemoveCheckConstraint


class Migration(migrations.Migration):
    atomic = False

    replaces = [("crawler", "0010_source_kinds")]

    dependencies = [("crawler", "0005_indexes_and_constraints")]

    operations = [
        SaferRemoveCheckConstraint(model_name="crawlsource", name="ck_crawl_sources_kind_valid"),
        migrations.AlterField(
            model_name="crawlsource",
            name="kind",
            field=models.CharField(help_text="A folder's name in crawler/sources.", max_length=20),
        ),
    ]
