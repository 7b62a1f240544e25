"""People and what they may use: profiles, credits, keys, usage, notifications, activity."""

from accounts.models.activity import ActivityLog
from accounts.models.credits import CreditAccount, CreditTransaction
from accounts.models.profiles import Profile, TierName
from accounts.models.unused import ApiKey, Notification, NotificationPreferences
from accounts.models.usage import UsageMetrics

__all__ = [
    "ActivityLog",
    "ApiKey",
    "CreditAccount",
    "CreditTransaction",
    "Notification",
    "NotificationPreferences",
    "Profile",
    "TierName",
    "UsageMetrics",
]
