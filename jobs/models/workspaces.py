"""Workspaces: folders for a person's jobs."""

from django.conf import settings
from django.db import models

from pixsim.core.db.expressions import TransactionNow
from pixsim.core.db.fields import NamedForeignKey
from pixsim.core.db.indexes import column_indexes


class Workspace(models.Model):
    user = NamedForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="workspaces")
    name = models.CharField(max_length=255)
    description = models.CharField(null=True, blank=True)
    color = models.CharField(max_length=7, null=True, blank=True)
    icon = models.CharField(max_length=50, null=True, blank=True)
    parent_workspace = NamedForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="children"
    )
    tags = models.JSONField(null=True, blank=True)
    is_archived = models.BooleanField(db_default=False)
    is_template = models.BooleanField(db_default=False)
    is_public = models.BooleanField(db_default=False)
    total_jobs = models.IntegerField(db_default=0)
    total_assets = models.IntegerField(db_default=0)
    total_scenes = models.IntegerField(db_default=0)
    settings = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=TransactionNow(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=TransactionNow())
    last_activity_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "workspaces"
        indexes = column_indexes("workspaces", "is_archived", keys="parent_workspace user")

    def __str__(self) -> str:
        return self.name
