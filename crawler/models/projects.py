"""A project: a named group of an owner's crawl jobs."""

from django.db import models

from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import NamedIndex


class Project(models.Model):
    name = models.CharField(max_length=100)
    description = models.TextField(null=True, blank=True)
    owner = NamedForeignKey(
        "accounts.Profile",
        models.CASCADE,
        null=True,
        blank=True,
        db_column="user_id",
        related_name="projects",
        help_text="Empty: the system itself.",
    )
    status = models.CharField(max_length=20, default="active")
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())

    class Meta:
        db_table = "projects"
        indexes = [
            # An owner's projects, and the cascade when a profile is deleted.
            NamedIndex(fields=["owner"], name="ix_projects_user_id"),
        ]

    def __str__(self) -> str:
        return self.name
