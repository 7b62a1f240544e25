"""Log-ins for the older systems' people: rows of Django's `auth_user`."""

from pixsim.adoption.conversions import ZONELESS, Conversion, out_of_time, without_precision
from pixsim.adoption.copies import Copy
from pixsim.adoption.systems import System
from pixsim.schema.catalog import Table

USERS = "auth_user"
UNUSABLE = "'!' || translate(gen_random_uuid()::text, '-', '') || left(md5(random()::text), 8)"
"""An unusable password of Django: `!` and 40 characters."""
BCRYPT = r"o.password_hash ~ '^\$2[aby]\$[0-9]{2}\$.{53}$'"
ADMIN = "coalesce(o.role::text, '') = 'admin'"
PREFIX = "bcrypt_legacy$"
"""`accounts.hashers` checks what follows as the older system did."""
LONGEST_EMAIL, LONGEST_USERNAME, LONGEST_NAME = 254, 150, 150

UNFIT = {
    "username": f"length(o.username) > {LONGEST_USERNAME}",
    "display_name": f"length(o.display_name) > {LONGEST_NAME}",
    "created_at": out_of_time("o.created_at"),
    "last_login_at": out_of_time("o.last_login_at"),
}
"""What Django's table cannot hold, of an older column."""

LATER = "row_number() OVER (PARTITION BY lower(o.email) ORDER BY o.created_at, o.id) > 1"
"""Somebody older has this e-mail, but for upper and lower case."""


def copy_of_people(system: System, people: Table) -> Copy:
    """Return `auth_user` as a copy of the system's people. Raise KeyError if a column is missing."""
    if people.name == "profiles":
        return _of_profiles()
    return _of_users(people)


def _of_users(users: Table) -> Copy:
    """Copy PixSim7's users with their ids, names and passwords."""
    email = f"CASE WHEN length(o.email) > {LONGEST_EMAIL} THEN '' ELSE o.email END"
    return Copy(
        table=USERS,
        source=f"{users.name} AS o",
        conversions={
            name: Conversion(f"o.{name}", unfit=unfit)
            for name, unfit in UNFIT.items()
            if name in users.columns
        },
        values={
            "id": "o.id",
            "password": f"CASE WHEN {BCRYPT} THEN '{PREFIX}' || o.password_hash ELSE {UNUSABLE} END",
            "last_login": _time(users, "last_login_at"),
            "is_superuser": ADMIN,
            "username": "o.username",
            "first_name": _text(users, "display_name"),
            "last_name": "''",
            "email": email,
            "is_staff": ADMIN,
            "is_active": "o.is_active",
            "date_joined": _time(users, "created_at"),
        },
        proofs={
            "id": ("o.id", "id"),
            "username": ("o.username", "username"),
            "email": (email, "email"),
            "is_active": ("o.is_active", "is_active"),
            "display_name": (_text(users, "display_name"), "first_name"),
            "last_login_at": (_time(users, "last_login_at"), "last_login"),
            "created_at": (_time(users, "created_at"), "date_joined"),
            "password_hash": (
                f"CASE WHEN {BCRYPT} THEN o.password_hash END",
                f"CASE WHEN password LIKE '{PREFIX}%' THEN substr(password, {len(PREFIX) + 1}) END",
            ),
        },
    )


def _of_profiles() -> Copy:
    """Copy PixCrawler's profiles. They have no password, so nobody can log in until one is set."""
    number = "row_number() OVER (ORDER BY o.created_at, o.id)"
    name = (
        f"CASE WHEN {LATER} OR o.email = '' OR length(o.email) > {LONGEST_USERNAME}"
        " THEN 'profile-' || o.id ELSE o.email END"
    )
    return Copy(
        table=USERS,
        source="profiles AS o",
        values={
            "id": number,
            "password": UNUSABLE,
            "last_login": "NULL::timestamptz",
            "is_superuser": "false",
            "username": name,
            "first_name": "coalesce(o.full_name, '')",
            "last_name": "''",
            "email": f"CASE WHEN {LATER} OR length(o.email) > {LONGEST_EMAIL}"
            " THEN '' ELSE o.email END",
            "is_staff": "false",
            "is_active": "true",
            "date_joined": "o.created_at",
        },
        key=number,
    )


def _time(table: Table, name: str) -> str:
    column = table.columns.get(name)
    if column is None:
        return "now()" if name == "created_at" else "NULL::timestamptz"
    zone = " AT TIME ZONE 'UTC'" if without_precision(column.type) == ZONELESS else ""
    return f"o.{name}{zone}"


def _text(table: Table, name: str) -> str:
    return f"coalesce(o.{name}, '')" if name in table.columns else "''"
