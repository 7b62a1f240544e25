"""`profiles.user_tier` with its index and check: PixCrawler's revision 002.

Lock: ACCESS EXCLUSIVE on `profiles`, short for the column (a constant default rewrites nothing),
as long as one read of the table for the index and the check. Back: drops the column, and with
it who had which tier.
"""

from django.db import migrations, models

from pixsim.core.db.indexes import NamedIndex

TIERS = ["FREE", "PRO", "ENTERPRISE"]


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="profile",
            name="user_tier",
            field=models.CharField(
                choices=[(tier, tier) for tier in TIERS],
                db_default="FREE",
                default="FREE",
                max_length=20,
                verbose_name="tier",
            ),
        ),
        migrations.AddIndex(
            model_name="profile",
            index=NamedIndex(fields=["user_tier"], name="ix_profiles_user_tier"),
        ),
        migrations.AddConstraint(
            model_name="profile",
            constraint=models.CheckConstraint(
                condition=models.Q(user_tier__in=TIERS), name="ck_profiles_user_tier_valid"
            ),
        ),
    ]
