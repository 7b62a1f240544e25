"""Keys for the API. Only a hash of the secret is kept."""

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q

from accounts.models.profiles import Profile
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex


class ApiKeyStatus(models.TextChoices):
    ACTIVE = "active", "active"
    REVOKED = "revoked", "revoked"
    EXPIRED = "expired", "expired"


class ApiKey(models.Model):
    """A key by which a program acts for a profile."""

    id = models.UUIDField(
        primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False
    )
    user = NamedForeignKey(Profile, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=200)
    key_hash = models.CharField(max_length=255, editable=False)
    key_prefix = models.CharField(max_length=20)
    status = models.CharField(
        max_length=20, choices=ApiKeyStatus, db_default=ApiKeyStatus.ACTIVE.value
    )
    permissions = models.JSONField(
        db_default=models.Value([], models.JSONField()), blank=True, help_text="Scopes."
    )
    rate_limit = models.IntegerField(db_default=1000)
    usage_count = models.IntegerField(db_default=0)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_ip = models.CharField(max_length=45, null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())

    class Meta:
        db_table = "api_keys"
        verbose_name = "API key"
        # The indexes of the older system, a contract.
        indexes = [
            NamedIndex(fields=["expires_at"], name="ix_api_keys_expires_at"),
            NamedIndex(fields=["key_hash"], name="ix_api_keys_key_hash"),
            NamedIndex(fields=["key_prefix"], name="ix_api_keys_key_prefix"),
            NamedIndex(fields=["last_used_at"], name="ix_api_keys_last_used_at"),
            NamedIndex(fields=["status"], name="ix_api_keys_status"),
            NamedIndex(fields=["user"], name="ix_api_keys_user_id"),
            NamedIndex(fields=["user", "status"], name="ix_api_keys_user_status"),
        ]
        constraints = [
            models.CheckConstraint(
                name="ck_api_keys_rate_limit_positive", condition=Q(rate_limit__gt=0)
            ),
            models.CheckConstraint(
                name="ck_api_keys_status_valid", condition=Q(status__in=ApiKeyStatus.values)
            ),
            models.CheckConstraint(
                name="ck_api_keys_usage_count_positive", condition=Q(usage_count__gte=0)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.key_prefix}…)"
