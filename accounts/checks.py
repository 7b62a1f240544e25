"""System checks: settings that are wrong are refused at the start."""

from typing import Any

from django.core.checks import Error, register

from accounts.tiers import setting_problems


@register()
def tiers_are_valid(**kwargs: Any) -> list[Error]:
    return [
        Error(problem, hint="See accounts/tiers.toml for the table.", id="accounts.E001")
        for problem in setting_problems()
    ]
