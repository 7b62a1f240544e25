"""One model, at the head of two migrations."""

from django.db import models


class Toy(models.Model):  # noqa: DJ008  nobody reads one
    """Something to play with."""

    id = models.BigAutoField(auto_created=True, primary_key=True, serialize=False)
    name = models.TextField(default="")
    price = models.IntegerField(null=True)
