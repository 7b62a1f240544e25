"""What a profile used on a day."""

from decimal import Decimal

from django.db import models
from django.db.models import Q

from accounts.models.profiles import Profile
from pixsim.core.db.constraints import checks
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey, uuid_key
from pixsim.core.db.indexes import NamedIndex

_USED = (
    ("api_calls", "api_calls"),
    ("bandwidth_used", "bandwidth_used_gb"),
    ("images_processed", "images_processed"),
    ("storage_used", "storage_used_gb"),
)
_LIMITS = (
    ("api_calls_limit", "api_calls_limit"),
    ("bandwidth_limit", "bandwidth_limit_gb"),
    ("images_limit", "images_limit"),
    ("storage_limit", "storage_limit_gb"),
)


class UsageMetrics(models.Model):
    """One profile's use on one day (UTC); written by `accounts.usage`.

    A gigabyte is 10^9 bytes. The byte columns are exact and the `_gb` columns are rounded from
    them; bytes are null where only gigabytes were ever recorded.
    """

    id = uuid_key()
    user = NamedForeignKey(Profile, models.CASCADE, related_name="usage_metrics")
    metric_date = models.DateField()
    images_processed = models.IntegerField(db_default=0)
    images_limit = models.IntegerField(db_default=10000)
    storage_used_gb = models.DecimalField(
        max_digits=10, decimal_places=2, db_default=Decimal("0.00")
    )
    storage_limit_gb = models.DecimalField(
        max_digits=10, decimal_places=2, db_default=Decimal("100.00")
    )
    api_calls = models.IntegerField(db_default=0)
    api_calls_limit = models.IntegerField(db_default=50000)
    bandwidth_used_gb = models.DecimalField(
        max_digits=10, decimal_places=2, db_default=Decimal("0.00")
    )
    bandwidth_limit_gb = models.DecimalField(
        max_digits=10, decimal_places=2, db_default=Decimal("500.00")
    )
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    # Ours from here on.
    storage_used_bytes = models.BigIntegerField(null=True, blank=True)
    bandwidth_used_bytes = models.BigIntegerField(null=True, blank=True)

    class Meta:
        db_table = "usage_metrics"
        verbose_name_plural = "usage metrics"
        # The indexes of the older system, a contract.
        indexes = [
            NamedIndex(fields=["metric_date"], name="ix_usage_metrics_metric_date"),
            NamedIndex(fields=["user", "metric_date"], name="ix_usage_metrics_user_date"),
            NamedIndex(fields=["user"], name="ix_usage_metrics_user_id"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "metric_date"], name="uq_usage_metrics_user_date"
            ),
            *checks(
                "usage_metrics",
                **{f"{name}_positive": Q(**{f"{field}__gte": 0}) for name, field in _USED},
                **{f"{name}_positive": Q(**{f"{field}__gt": 0}) for name, field in _LIMITS},
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} on {self.metric_date}"
