"""A moving average of each account's generation time, as PixSim7's revision 2330addema added it.

Lock: ACCESS EXCLUSIVE on provider_accounts for a moment; a constant default does not rewrite it.
Back: drops both columns; the averages are learnt anew.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0005_submission_account_required")]

    operations = [
        migrations.AddField(
            model_name="provideraccount",
            name="ema_generation_time_sec",
            field=models.FloatField(
                blank=True, help_text="Moving average of the generation time.", null=True
            ),
        ),
        migrations.AddField(
            model_name="provideraccount",
            name="ema_alpha",
            field=models.FloatField(
                db_default=0.3,
                default=0.3,
                help_text="Weight of the newest sample in it, 0 to 1.",
            ),
        ),
    ]
