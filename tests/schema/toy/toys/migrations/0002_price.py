"""What a toy costs."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("toys", "0001_initial")]
    operations = [migrations.AddField("Toy", "price", models.IntegerField(null=True))]
