"""What the operator should know besides what is converted."""

from collections.abc import Iterator

from django.db.backends.utils import CursorWrapper

from pixsim.adoption.systems import Point
from pixsim.adoption.users import ADMIN, BCRYPT
from pixsim.schema.catalog import Schema, quoted


def notes_on(
    cursor: CursorWrapper, point: Point, found: Schema, counts: dict[str, int]
) -> Iterator[str]:
    """Yield what the operator should know besides the conversions."""
    schema = quoted(found.name)
    cursor.execute(
        "SELECT count(*), (array_agg(o.email ORDER BY o.email))[1:5] FROM (SELECT email,"
        f" row_number() OVER (PARTITION BY lower(email) ORDER BY created_at, id) AS place FROM"
        f" {schema}.{point.system.people} WHERE email <> '') AS o WHERE place > 1"
    )
    later, emails = cursor.fetchone()
    if later:
        yield (
            f"{later:,} people have an e-mail that somebody older has too, but for upper and lower "
            f"case ({', '.join(emails)}): the oldest keeps it, the others get a name of their own "
            "instead; adoption_changes says which."
        )
    if "job_chunks" in counts:
        cursor.execute(
            f"SELECT count(*) FROM {schema}.job_chunks WHERE status IN ('pending', 'processing')"
        )
        if waiting := cursor.fetchone()[0]:
            yield (
                f"{waiting:,} chunks are pending or were left in processing. Their jobs have only "
                "keywords, so they wait until their job has a source: add one in the admin."
            )
    if "users" not in counts:
        return
    if "jobs" in counts:
        yield from _held(cursor, schema)
    cursor.execute(
        f"SELECT username FROM {schema}.users AS o WHERE {ADMIN} AND username IS NOT NULL"
        " ORDER BY id LIMIT 20"
    )
    if admins := [name for (name,) in cursor.fetchall()]:
        yield f"Users with the role admin may do everything in our admin: {', '.join(admins)}."
    cursor.execute(f"SELECT count(*) FROM {schema}.users AS o WHERE ({BCRYPT}) IS NOT TRUE")
    if strange := cursor.fetchone()[0]:
        yield f"{strange:,} users have a password that is not bcrypt's; they need a new one."
    if {"provider_submissions", "provider_accounts"} - set(counts):
        return
    if "account_id" not in found.tables["provider_submissions"].columns:
        cursor.execute(
            f"SELECT provider_id, count(*) FROM {schema}.provider_submissions AS s WHERE NOT EXISTS"
            f" (SELECT FROM {schema}.provider_accounts AS a WHERE a.provider_id = s.provider_id)"
            " GROUP BY 1 ORDER BY 1"
        )
        for provider, count in cursor.fetchall():
            yield (
                f"{count:,} submissions of provider {provider!r} have no account that could have "
                "made them; `migrate` will stop at the backfill until there is one: `manage.py "
                f"provider_account add --provider {provider} --email EMAIL --status disabled`."
            )


def _held(cursor: CursorWrapper, schema: str) -> Iterator[str]:
    cursor.execute(f"SELECT count(*) FROM {schema}.jobs WHERE lower(status::text) = 'pending'")
    if pending := cursor.fetchone()[0]:
        yield (
            f"{pending:,} pending jobs are held until an admin resumes them: adopting spends no "
            "money."
        )
