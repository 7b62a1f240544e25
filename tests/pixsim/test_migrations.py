"""The whole history of the schema, as `manage.py migrate` walks it."""

import re

from django.apps import apps
from django.core.management import call_command
from django.db import connection

from tests.tables import describe_table

OURS = ("crawler", "jobs", "providers", "accounts")


def tables():
    return {
        model._meta.db_table: describe_table(connection, model._meta.db_table)
        for label in OURS
        for model in apps.get_app_config(label).get_models()
    }


def test_zero_to_head_to_zero_to_head_ends_where_it_began(walk):
    head = tables()
    assert len(head) >= 18

    for label in OURS:
        call_command("migrate", label, "zero", verbosity=0)
    assert set(head) & set(connection.introspection.table_names()) == set()

    call_command("migrate", verbosity=0)
    assert tables() == head


def test_the_migrations_say_what_the_models_say(db):
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_every_migration_says_what_it_locks_and_how_to_go_back():
    from django.db.migrations.loader import MigrationLoader

    for (label, name), migration in MigrationLoader(None).disk_migrations.items():
        if label in OURS:
            text = __import__(migration.__module__, fromlist=["x"]).__doc__ or ""
            assert re.search(r"\bLock\w*: \w|\bLocks? ", text), f"{label}.{name}"
            assert re.search(r"\bBack: \w", text), f"{label}.{name}"
