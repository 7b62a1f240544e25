"""The settings with django-migration-linter's command, for `make check-migrations`."""

from pixsim.settings import *  # noqa: F403
from pixsim.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django_migration_linter"]
