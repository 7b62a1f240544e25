"""Database expressions for column defaults."""

from django.db import models


class TransactionNow(models.Func):
    """PostgreSQL's `now()`: the time the transaction began.

    Django's own `Now()` writes `statement_timestamp()`, which is another default in the
    catalogue than the one the schema contract names.
    """

    template = "now()"
    output_field = models.DateTimeField()
