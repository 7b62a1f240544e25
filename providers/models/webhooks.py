"""Webhook events that were recorded, so that each is processed once."""

from django.db import models

from pixsim.core.db.expressions import TransactionNow


class ProviderWebhook(models.Model):
    """A recorded event. Stored for longer than adapters accept an old one."""

    id = models.BigAutoField(primary_key=True)
    provider_id = models.CharField(max_length=50)
    event_id = models.CharField(
        max_length=200, help_text="The provider's id, same when sent again."
    )
    received_at = models.DateTimeField(db_default=TransactionNow(), editable=False)

    class Meta:
        db_table = "provider_webhooks"
        constraints = [
            models.UniqueConstraint(
                fields=["provider_id", "event_id"], name="uq_provider_webhooks_event"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} of {self.provider_id}"
