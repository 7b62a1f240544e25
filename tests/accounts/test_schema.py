"""The tables of this app are a contract with the databases of an older system."""

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from accounts.models import ActivityLog, ApiKey, Notification, Profile
from tests.accounts.conftest import Migrate, to_head
from tests.adoption.legacy.pixcrawler import ACCOUNTS_TABLES as TABLES
from tests.tables import describe_table


def execute(sql: str, *params: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)
        return cursor.fetchall() if cursor.description else None


def test_migration_0002_has_exactly_the_columns_indexes_and_constraints_of_the_older_system(
    migrate: Migrate,
) -> None:
    migrate("0002_user_tier")
    tables = {name: describe_table(connection, name) for name in TABLES}
    for name, expected in TABLES.items():
        assert tables[name].columns == expected.columns
        assert tables[name].indexes == expected.indexes
        assert tables[name].constraints == expected.constraints
    assert {one for table in tables.values() for one in table.unique_constraints} == {
        "profiles_email_key",
        "uq_usage_metrics_user_date",
    }


def test_migration_0001_has_no_tiers(migrate: Migrate) -> None:
    migrate("0001_initial")
    profiles = describe_table(connection, "profiles")
    assert [column.name for column in profiles.columns][-1] == "updated_at"
    assert profiles.constraints == {}
    assert set(profiles.indexes) == {"profiles_email_key", "profiles_pkey"}


@pytest.mark.long
def test_every_migration_goes_forward_and_back(migrate: Migrate) -> None:
    def everything() -> dict[str, Any]:
        return {name: describe_table(connection, name) for name in TABLES}

    head = everything()
    migrate(None)
    assert execute("SELECT to_regclass('profiles')") == [(None,)]
    to_head()
    assert everything() == head


@pytest.mark.long
def test_users_that_exist_before_the_migration_have_a_profile_after_it(migrate: Migrate) -> None:
    old = migrate("0003_columns")
    users = old.get_model("auth", "User").objects
    ada = users.create(username="ada", email="ada@x.org", first_name="Ada", is_superuser=True)
    twin = users.create(username="twin", email="ada@x.org")
    nobody = users.create(username="nobody")
    known = users.create(username="known", email="known@x.org")
    thief = users.create(username="thief", email=f"user{nobody.pk}@users.invalid")
    minus = users.create(pk=-1, username="minus")  # as an adopted system may have them
    waiting = uuid.uuid4()
    execute(
        "INSERT INTO profiles (id, email, role) VALUES (%s, 'known@x.org', 'user')",
        waiting,
    )

    migrate("0004_profile_for_every_user")
    to_head()

    emails = dict(Profile.objects.values_list("user_id", "email"))
    assert emails == {
        ada.pk: "ada@x.org",
        twin.pk: f"user{twin.pk}@users.invalid",
        nobody.pk: f"user{nobody.pk}@users.invalid",
        known.pk: "known@x.org",
        thief.pk: f"user{thief.pk}@users.invalid",
        minus.pk: "user-1@users.invalid",
    }
    assert Profile.objects.get(user_id=known.pk).pk == waiting
    admin = Profile.objects.get(user_id=ada.pk)
    assert (admin.role, admin.full_name, admin.user_tier) == ("admin", "Ada", "FREE")

    before = dict(Profile.objects.values_list("user_id", "pk"))
    migrate("0002_user_tier")
    to_head()
    assert dict(Profile.objects.values_list("user_id", "pk")) == before


def test_many_users_get_their_profiles_in_batches_and_those_that_have_one_keep_it(
    migrate: Migrate,
) -> None:
    users = migrate("0003_columns").get_model("auth", "User")
    users.objects.bulk_create(
        users(username=str(n), email=f"{n}@x.org" if n % 2 else "") for n in range(2500)
    )
    kept = uuid.uuid4()  # made before an earlier run was stopped
    execute(
        "INSERT INTO profiles (id, email, role, user_id)"
        " SELECT %s, 'kept@x.org', 'user', max(id) FROM auth_user",
        kept,
    )
    migrate("0004_profile_for_every_user")
    assert execute("SELECT count(*), count(DISTINCT user_id) FROM profiles") == [(2500, 2500)]
    assert execute("SELECT count(*) FROM profiles WHERE id = %s", kept) == [(1,)]


def test_profiles_that_exist_get_their_notification_preferences_and_keep_those_they_have(
    migrate: Migrate,
) -> None:
    migrate("0005_indexes_and_constraints")
    execute("INSERT INTO profiles (email) SELECT n || '@x.org' FROM generate_series(1, 2500) AS n")
    execute(
        "INSERT INTO notification_preferences (user_id, digest_frequency)"
        " SELECT id, 'never' FROM profiles WHERE email LIKE '1%'"
    )
    kept = execute("SELECT count(*) FROM notification_preferences")
    to_head()
    found = "SELECT count(*), count(DISTINCT user_id) FROM notification_preferences"
    assert execute(found) == [(2500, 2500)]
    assert (
        execute("SELECT count(*) FROM notification_preferences WHERE digest_frequency = 'never'")
        == kept
    )


def test_rows_that_belong_to_nobody_stop_the_migration_with_their_number(
    migrate: Migrate,
) -> None:
    migrate("0002_user_tier")
    execute(
        "INSERT INTO notifications (user_id, title, message, type)"
        " SELECT gen_random_uuid(), 't', 'm', 'info' FROM generate_series(1, 7)"
    )
    try:
        stop = r"nothing was changed: 7 rows of notifications .* ids 1, 2, 3, 4, 5\. Give"
        with pytest.raises(ValueError, match=stop):
            to_head()
        assert execute("SELECT count(*) FROM notifications") == [(7,)]
    finally:
        execute("DELETE FROM notifications")


@pytest.mark.django_db
def test_a_plain_insert_of_an_email_makes_a_profile() -> None:
    execute("INSERT INTO profiles (email) VALUES ('a@x.org')")
    profile = Profile.objects.get(email="a@x.org")
    assert (profile.role, profile.user_tier, profile.user_id) == ("user", "FREE", None)


@pytest.mark.django_db
def test_deleting_a_profile_by_sql_takes_what_is_the_persons_and_leaves_the_log() -> None:
    profile = Profile.objects.create(email="a@x.org")
    Notification.objects.create(user=profile, title="t", message="m", type="info")
    ApiKey.objects.create(user=profile, name="k", key_hash="h", key_prefix="p")
    ActivityLog.objects.create(user=profile, action="profile.made")
    execute("DELETE FROM profiles WHERE id = %s", profile.pk)
    assert not Notification.objects.exists()
    assert not ApiKey.objects.exists()
    assert ActivityLog.objects.get().user_id is None


@pytest.mark.django_db
def test_deleting_a_user_by_sql_or_in_django_leaves_the_profile() -> None:
    by_sql, by_orm = (User.objects.create_user(name, f"{name}@x.org") for name in ("a", "b"))
    execute("DELETE FROM auth_user WHERE id = %s", by_sql.pk)
    by_orm.delete()
    assert list(Profile.objects.order_by("email").values_list("email", "user_id")) == [
        ("a@x.org", None),
        ("b@x.org", None),
    ]


@pytest.mark.django_db
def test_the_database_refuses_a_tier_outside_the_table() -> None:
    with pytest.raises(IntegrityError, match="ck_profiles_user_tier_valid"), transaction.atomic():
        execute("INSERT INTO profiles (email, user_tier) VALUES ('a@x.org', 'GOLD')")


@pytest.mark.django_db
def test_profiles_of_a_tier_are_found_by_the_index() -> None:
    execute(
        "INSERT INTO profiles (email, user_tier)"
        " SELECT n || '@x.org', CASE WHEN n % 100 = 0 THEN 'PRO' ELSE 'FREE' END"
        " FROM generate_series(1, 5000) AS n"
    )
    execute("ANALYZE profiles")
    assert Profile.objects.by_tier("PRO").count() == 50
    assert "ix_profiles_user_tier" in Profile.objects.by_tier("PRO").explain()
