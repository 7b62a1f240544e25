"""`profiles.user_id`: the log-in of a profile.

Null, because a profile of an older system has no log-in here, and because a deleted log-in
leaves its profile and work behind (ON DELETE SET NULL, in the database too).

Lock: ACCESS EXCLUSIVE on `profiles` and SHARE ROW EXCLUSIVE on `auth_user`; short for the column,
as long as one read of `profiles` for the unique index. Back: drops the column, and with it which
log-in a profile had; 0004 finds them again by e-mail.
"""

from django.conf import settings
from django.db import migrations, models

from pixsim.core.db.operations import AddForeignKey


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_user_tier"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="profile",
            name="user",
            field=models.OneToOneField(
                blank=True,
                db_constraint=False,
                help_text="The log-in. Empty: nobody can log in as this profile.",
                null=True,
                on_delete=models.SET_NULL,
                related_name="profile",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        AddForeignKey(
            table="profiles",
            column="user_id",
            to="auth_user",
            name="profiles_user_id_fkey",
            on_delete="SET NULL",
        ),
    ]
