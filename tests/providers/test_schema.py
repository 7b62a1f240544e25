"""The tables of this app and of jobs are a contract with the databases of an older system."""

import re

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError

from jobs.models import Job
from providers.models import ProviderAccount, ProviderSubmission
from tests.adoption.legacy.pixsim7 import GENERATION_TABLES as TABLES
from tests.providers.conftest import Migrate, execute, to_head
from tests.queue_guard import edits_by_hand
from tests.tables import Column, Table, describe_table

# What was decided differently from the older system's columns.
ENUMERATIONS = {
    "accountstatus": "character varying(20)",
    "contentdomain": "character varying(20)",
    "jobstatus": "character varying(20)",
    "mediatype": "character varying(20)",
    "operationtype": "character varying(32)",
    "syncstatus": "character varying(20)",
    "json": "jsonb",
}
CREDENTIALS = {"password", "jwt_token", "api_key", "api_key_paid", "cookies"}
CHECKS = {
    "assets": {
        "ck_assets_content_domain_valid",
        "ck_assets_media_type_valid",
        "ck_assets_sync_status_valid",
    },
    "jobs": {"ck_jobs_operation_type_valid", "ck_jobs_priority_range", "ck_jobs_status_valid"},
    "provider_accounts": {"ck_provider_accounts_status_valid"},
}
# Columns that later revisions of the older system added: ALTER TABLE puts them at the end.
LATER = {
    "jobs": ["params"],
    "provider_accounts": ["ema_generation_time_sec", "ema_alpha"],
    "provider_submissions": ["account_id"],
}


def decided(table: str, *, without_later: bool) -> Table:
    """The older system's table with our decisions; its later columns at the end, or left out."""
    older, later = TABLES[table], LATER.get(table, [])
    columns = {column.name: _decided(column) for column in older.columns}
    moved = [columns.pop(name) for name in later]
    return Table(
        columns=list(columns.values()) + ([] if without_later else moved),
        indexes={
            name: definition
            for name, definition in older.indexes.items()
            if not (without_later and name.removeprefix(f"ix_{table}_") in later)
        },
        constraints={
            name: definition.replace("REFERENCES users(", "REFERENCES auth_user(")
            for name, definition in older.constraints.items()
            if name.removeprefix(f"{table}_").removesuffix("_fkey") not in later
        },
    )


def _decided(column: Column) -> Column:
    if column.name in CREDENTIALS:
        return column._replace(type="text")
    if column.name == "params":
        return column._replace(type="jsonb", nullable=False)
    return column._replace(type=ENUMERATIONS.get(column.type, column.type))


def without_checks(table: Table) -> dict[str, str]:
    return {name: text for name, text in table.constraints.items() if "CHECK" not in text}


def checks(table: Table) -> set[str]:
    return {name for name, text in table.constraints.items() if "CHECK" in text}


def test_the_first_migrations_make_the_older_tables_but_for_what_was_decided(
    migrate: Migrate,
) -> None:
    migrate("jobs", "0001_jobs")
    migrate("providers", "0002_submissions")
    for name in TABLES:
        table, expected = describe_table(connection, name), decided(name, without_later=True)
        assert table.columns == expected.columns
        assert table.indexes == expected.indexes
        assert without_checks(table) == expected.constraints
        assert checks(table) == CHECKS.get(name, set())
        assert table.unique_constraints == {
            index for index in table.indexes if index.startswith("uq_")
        }


def test_revision_daa977a0bfa9_is_jobs_0002_with_providers_0005(migrate: Migrate) -> None:
    migrate("jobs", "0002_params")
    migrate("providers", "0005_submission_account_required")
    jobs = describe_table(connection, "jobs")
    assert jobs.columns[-1] == Column("params", "jsonb", False, "'{}'::jsonb")
    submissions = describe_table(connection, "provider_submissions")
    assert submissions.columns[-2:] == [
        Column("account_id", "integer", False),
        Column("account_source", "character varying(20)", False, "'recorded'"),
    ]
    assert submissions.indexes == TABLES["provider_submissions"].indexes
    assert submissions.constraints["fk_provider_submissions_account_id"] == (
        "FOREIGN KEY (account_id) REFERENCES provider_accounts(id)"
    )
    assert checks(submissions) == {"ck_provider_submissions_account_source_valid"}


@pytest.mark.django_db
@pytest.mark.parametrize("name", TABLES)
def test_at_the_head_the_older_tables_are_all_there_with_defaults_added(name: str) -> None:
    table, expected = describe_table(connection, name), decided(name, without_later=False)
    older = {column.name for column in expected.columns}
    columns = [column for column in table.columns if column.name in older]
    assert [column[:3] for column in columns] == [
        (
            column.name,
            "bigint" if column.name == "file_size_bytes" else column.type,
            column.nullable,
        )
        for column in expected.columns
    ]
    indexes = {name: table.indexes.get(name) for name in expected.indexes}
    if name == "assets":  # unique per owner now: uq_assets_user_sha256
        expected.indexes["ix_assets_sha256"] = indexes["ix_assets_sha256"]
    assert indexes == expected.indexes
    added = [column for column in table.columns if column.name not in older]
    assert all(column.nullable or column.default for column in added)


@pytest.mark.django_db
def test_no_type_of_the_database_is_a_native_enumeration_and_no_column_is_plain_json() -> None:
    assert execute("SELECT typname FROM pg_type WHERE typtype = 'e'") == []
    assert not [
        (name, column)
        for name in TABLES
        for column in describe_table(connection, name).columns
        if column.type == "json"
    ]


@pytest.mark.django_db
def test_models_and_constraints_hold_the_same_values() -> None:
    for app in ("providers", "jobs"):
        for model in apps.get_app_config(app).get_models():
            constraints = describe_table(connection, model._meta.db_table).constraints
            for name, text in constraints.items():
                field = re.fullmatch(rf"ck_{model._meta.db_table}_(\w+)_valid", name)
                if field:
                    choices = [value for value, _ in model._meta.get_field(field[1]).choices]
                    assert re.findall(r"'(\w+)'", text) == choices


@pytest.mark.django_db
def test_plain_inserts_with_the_columns_one_must_know_work(user: User) -> None:
    (account,), (job,) = (
        execute(
            "INSERT INTO provider_accounts (provider_id, email) VALUES ('p', 'e') RETURNING id"
        ),
        execute(
            "INSERT INTO jobs (user_id, operation_type, provider_id) "
            "VALUES (%s, 'song', 'p') RETURNING id",
            user.pk,
        ),
    )
    execute(
        "INSERT INTO provider_submissions (job_id, account_id, provider_id) VALUES (%s, %s, 'p')",
        job[0],
        account[0],
    )
    execute("INSERT INTO provider_credits (account_id, credit_type) VALUES (%s, 'web')", account[0])
    execute("INSERT INTO workspaces (user_id, name) VALUES (%s, 'w')", user.pk)
    execute(
        "INSERT INTO assets (user_id, media_type, provider_id, provider_asset_id, remote_url) "
        "VALUES (%s, 'image', 'p', '1', 'http://x')",
        user.pk,
    )
    submission = ProviderSubmission.objects.select_related("account", "job").get()
    assert (submission.status, submission.account_source) == ("pending", "recorded")
    assert submission.account.status == "active"
    assert (submission.job.status, submission.job.priority, submission.job.params) == (
        "pending",
        5,
        {},
    )


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET status = 'PENDING'",
        "UPDATE jobs SET operation_type = 'TEXT_TO_VIDEO'",
        "UPDATE jobs SET priority = 11",
        "UPDATE jobs SET priority = -1",
        "UPDATE provider_accounts SET status = 'ACTIVE'",
        "UPDATE provider_submissions SET account_source = 'rumour'",
        "UPDATE provider_submissions SET account_id = NULL",
        "UPDATE provider_submissions SET account_id = 0",
        "DELETE FROM provider_accounts",
        "DELETE FROM jobs",
        "DELETE FROM auth_user",
        "INSERT INTO provider_credits (account_id, credit_type) "
        "SELECT id, t FROM provider_accounts, (VALUES ('a'), ('a')) AS twice (t)",
    ],
)
def test_the_database_refuses(submission: ProviderSubmission, change: str) -> None:
    with edits_by_hand(), pytest.raises(IntegrityError), transaction.atomic():
        execute(change)


def test_deleting_an_account_with_history_is_refused_before_the_database_is_asked(
    submission: ProviderSubmission,
) -> None:
    with pytest.raises(ProtectedError):
        submission.account.delete()
    assert ProviderAccount.objects.exists()


@pytest.mark.long
def test_both_apps_go_to_zero_and_back_to_the_same_tables_with_rows_in_them(
    migrate: Migrate, submission: ProviderSubmission
) -> None:
    before = {name: describe_table(connection, name) for name in TABLES}
    migrate("providers", None)
    assert not set(TABLES) & set(connection.introspection.table_names())
    to_head()
    assert {name: describe_table(connection, name) for name in TABLES} == before
    assert not Job.objects.exists()
