"""Credits: a balance per profile and the ledger that explains it."""

from decimal import Decimal

from django.db import models
from django.db.models import F, Q

from accounts.models.profiles import Profile
from pixsim.core.db.constraints import checks
from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey, uuid_key
from pixsim.core.db.indexes import NamedIndex


class CreditAccount(models.Model):
    """The balance of one profile, in credits. The ledger's sum equals it."""

    id = uuid_key()
    user = NamedForeignKey(Profile, models.CASCADE, related_name="credit_accounts")
    current_balance = models.IntegerField(db_default=0)
    monthly_usage = models.IntegerField(db_default=0)
    average_daily_usage = models.DecimalField(
        max_digits=10, decimal_places=2, db_default=Decimal("0.00")
    )
    auto_refill_enabled = models.BooleanField(db_default=False)
    refill_threshold = models.IntegerField(db_default=100)
    refill_amount = models.IntegerField(db_default=500)
    monthly_limit = models.IntegerField(db_default=2000)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())

    class Meta:
        db_table = "credit_accounts"
        constraints = [
            # As an expression it is a unique index, as in the older system, not a constraint.
            models.UniqueConstraint(F("user"), name="ix_credit_accounts_user_id"),
            *checks(
                "credit_accounts",
                balance_positive=Q(current_balance__gte=0),
                monthly_usage_positive=Q(monthly_usage__gte=0),
                refill_threshold_positive=Q(refill_threshold__gt=0),
                refill_amount_positive=Q(refill_amount__gt=0),
                monthly_limit_positive=Q(monthly_limit__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.current_balance} credits"


class TransactionType(models.TextChoices):
    PURCHASE = "purchase", "purchase"
    USAGE = "usage", "usage"
    REFUND = "refund", "refund"
    BONUS = "bonus", "bonus"
    HOLD = "hold", "held for work"
    CAPTURE = "capture", "captured from a hold"
    RELEASE = "release", "released from a hold"
    ADJUSTMENT = "adjustment", "adjustment"


class TransactionStatus(models.TextChoices):
    COMPLETED = "completed", "completed"
    PENDING = "pending", "pending"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


class CreditTransaction(models.Model):
    """One entry of the ledger: what changed a balance, and the balance after it."""

    id = uuid_key()
    account = NamedForeignKey(CreditAccount, models.CASCADE, related_name="transactions")
    user = NamedForeignKey(Profile, models.CASCADE, related_name="credit_transactions")
    type = models.CharField(max_length=20, choices=TransactionType)
    description = models.TextField()
    amount = models.IntegerField(help_text="Credits; negative when they were spent.")
    balance_after = models.IntegerField()
    status = models.CharField(
        max_length=20, choices=TransactionStatus, db_default=TransactionStatus.COMPLETED.value
    )
    metadata = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    reference = models.CharField(
        max_length=100, null=True, blank=True, help_text="What it is for; booked once."
    )
    closes = NamedForeignKey(
        "self",
        models.RESTRICT,
        db_column="settles_id",
        null=True,
        blank=True,
        related_name="closings",
        help_text="The hold that this entry captures or releases; a hold is closed once.",
    )

    class Meta:
        db_table = "credit_transactions"
        # The indexes of the older system, a contract.
        indexes = [
            NamedIndex(fields=["account"], name="ix_credit_transactions_account_id"),
            NamedIndex(fields=["created_at"], name="ix_credit_transactions_created_at"),
            NamedIndex(fields=["status"], name="ix_credit_transactions_status"),
            NamedIndex(fields=["type"], name="ix_credit_transactions_type"),
            NamedIndex(fields=["user", "created_at"], name="ix_credit_transactions_user_created"),
            NamedIndex(fields=["user"], name="ix_credit_transactions_user_id"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["reference"], name="uq_credit_transactions_reference"),
            models.UniqueConstraint(fields=["closes"], name="uq_credit_transactions_settles"),
            *checks(
                "credit_transactions",
                balance_positive=Q(balance_after__gte=0),
                status_valid=Q(status__in=TransactionStatus.values),
                type_valid=Q(type__in=TransactionType.values),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.amount:+d}"
