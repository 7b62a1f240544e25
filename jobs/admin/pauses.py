"""Pauses in the admin: what is paused, pause something, resume it by deleting its row."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin import actor_of
from accounts.models import Profile, ProfileQuerySet
from jobs.models import QueuePause
from jobs.queue import pauses
from jobs.queue.kinds import all_kinds
from pixsim.core.admin.base import ModelAdmin
from pixsim.core.admin.links import visible


class PauseForm(forms.ModelForm):  # type: ignore[type-arg]
    people: ClassVar[ProfileQuerySet]
    """Whom the user may see."""

    key = forms.CharField(
        label="what",
        max_length=255,
        help_text="The name of a kind of work, the e-mail of an owner, or a host name.",
    )

    class Meta:
        model = QueuePause
        fields = ("scope", "key", "reason")

    def clean(self) -> dict[str, Any]:
        """Turn the key into what the queue knows. An error names the field."""
        values = super().clean() or self.cleaned_data
        scope, key = values.get("scope"), values.get("key")
        if not scope or not key:
            return values
        if scope == pauses.KIND and key not in (names := [kind.name for kind in all_kinds()]):
            self.add_error("key", f"There is no such kind of work. There are: {', '.join(names)}.")
        if scope == pauses.OWNER:
            owner = self.people.filter(email=key).first()
            if owner is None:
                self.add_error("key", "Nobody has this e-mail.")
            else:
                values["key"] = str(owner.pk)
        if scope == pauses.HOST:
            values["key"] = key.lower()
        return values


@admin.register(QueuePause)
class QueuePauseAdmin(ModelAdmin):
    """Deleting a pause resumes."""

    form = PauseForm
    # The service writes the activity log; a pause is no row of it, so Django writes the History.
    log_addition = admin.ModelAdmin.log_addition
    log_deletions = admin.ModelAdmin.log_deletions
    list_display = ["scope", "name", "reason", "paused_by", "created_at"]

    @admin.display(description="what")
    def name(self, pause: Any) -> str:
        return str(pause.name)

    def get_queryset(self, request: HttpRequest) -> QuerySet[QueuePause]:
        return visible(pauses.everything(), request.user)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        people = Profile.objects.visible_to(request.user)
        return type(form.__name__, (form,), {"people": people})

    def has_change_permission(self, request: HttpRequest, obj: QueuePause | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: QueuePause, form: Any, change: bool) -> None:
        pauses.pause(obj.scope, obj.key, reason=obj.reason, actor=actor_of(request))
        obj.pk = QueuePause.objects.get(scope=obj.scope, key=obj.key).pk

    def delete_model(self, request: HttpRequest, obj: QueuePause) -> None:
        pauses.resume(obj.scope, obj.key, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[QueuePause]) -> None:
        for pause in queryset:
            self.delete_model(request, pause)
