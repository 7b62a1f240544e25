"""The activity log: who did what to which thing."""

from django.db import models
from django.db.models import Q

from accounts.models.profiles import Profile
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex


class ActivityLog(models.Model):
    """One entry of the log. Append-only; written by `accounts.activity.record`."""

    user = NamedForeignKey(
        Profile,
        models.SET_NULL,
        null=True,
        related_name="activity",
        help_text="Who did it. Empty: the system, or a profile that is gone.",
    )
    action = models.TextField()
    resource_type = models.CharField(max_length=50, null=True)
    resource_id = models.CharField(max_length=50, null=True)
    metadata = models.JSONField(db_column="metadata_", null=True)
    timestamp = models.DateTimeField(db_default=TransactionNow(), editable=False)
    # Ours from here on.
    request_id = models.CharField(max_length=64, null=True)

    class Meta:
        db_table = "activity_logs"
        indexes = [
            # A person's activity, newest first, and the foreign key of a profile that is deleted.
            NamedIndex(fields=["user", "timestamp"], name="ix_activity_logs_user_timestamp"),
            # What people did to a thing, for its timeline.
            NamedIndex(
                fields=["resource_type", "resource_id"],
                name="ix_activity_logs_resource",
                condition=Q(resource_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.action
