"""What a generation cost in the provider's own credits, where the provider says.

Lock: ACCESS EXCLUSIVE on provider_submissions for an instant; nothing is rewritten.
Back: drops the column.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0012_webhooks")]

    operations = [
        migrations.AddField(
            model_name="providersubmission",
            name="cost",
            field=models.FloatField(
                blank=True,
                help_text="In the provider's credits. Empty: it did not say.",
                null=True,
            ),
        ),
    ]
