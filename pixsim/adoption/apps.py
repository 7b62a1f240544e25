"""Adoption as a Django app: it registers its plug-in with the schema tool."""

from django.apps import AppConfig


class AdoptionConfig(AppConfig):
    name = "pixsim.adoption"
    label = "pixsim_adoption"

    def ready(self) -> None:
        from pixsim.adoption.plugin import AdoptionPlugin  # the registry of apps must be complete
        from pixsim.schema import plugins

        plugins.register(AdoptionPlugin())
