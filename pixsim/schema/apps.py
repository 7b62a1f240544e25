"""The schema tool as a Django app: the command `db`, and Django's `migrate` made safe."""

from django.apps import AppConfig


class SchemaConfig(AppConfig):
    name = "pixsim.schema"
    label = "pixsim_schema"
