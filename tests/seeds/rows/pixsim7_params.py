"""PixSim7: the page about revision daa977a0bfa9."""

from tests.seeds.checks import check, column, command, constraint, every, index, query
from tests.seeds.place import Place
from tests.seeds.rows import common
from tests.seeds.table import FULFILLED, TRANSLATED, Guide, On, Row

BEFORE, AFTER = "migrate providers 0003 --verbosity 0", "migrate providers 0005 --verbosity 0"
ACCOUNT = "provider_account add --provider {} --email {}"
SUBMISSIONS = """
WITH job AS (
    INSERT INTO jobs (user_id, operation_type, provider_id, priority, status, retry_count, created_at)
    SELECT id, 'fusion', 'a', 5, 'completed', 0, now() FROM auth_user RETURNING id)
INSERT INTO provider_submissions (job_id, provider_id, retry_attempt, submitted_at, status)
SELECT job.id, provider, 0, now(), 'succeeded' FROM job, unnest(%s::text[]) AS provider
"""
USER = """
INSERT INTO auth_user (username, first_name, last_name, email, password, is_superuser, is_staff,
    is_active, date_joined, last_login) VALUES ('ann', '', '', '', '', false, false, true, now(), now())
"""
GENERATE = "generate --provider local --operation text_to_image --param prompt='a fox'"


def _stand_before(place: Place, *providers: str) -> None:
    """Go to just before the accounts are filled, with a submission of each provider."""
    place.manage(BEFORE)
    place.ask(USER)
    place.ask(SUBMISSIONS, list(providers))


@check(on=On.EMPTY)
def current(place: Place) -> None:
    place.manage("db upgrade daa977a0bfa9")
    first, second, *_ = place.manage("db status", code=1).out.splitlines()
    assert "= daa977a0bfa9" in first
    assert second.startswith("Head ")


@check(on=On.EMPTY)
def first_account(place: Place) -> None:
    _stand_before(place, "a", "a", "b")
    for provider, email in (("a", "1"), ("a", "2"), ("b", "3")):
        place.manage(ACCOUNT.format(provider, email))
    place.manage(AFTER)
    assert place.sql(
        "SELECT s.provider_id, email, account_source FROM provider_submissions s"
        " JOIN provider_accounts a ON a.id = account_id ORDER BY s.id"
    ) == [("a", "1", "backfill"), ("a", "1", "backfill"), ("b", "3", "backfill")]


@check(on=On.EMPTY)
def no_account(place: Place) -> None:
    _stand_before(place, "a", "b")
    place.manage(ACCOUNT.format("a", "1"))
    place.says(
        AFTER, "1 providers have submissions but no account", "b: 1 submissions, for", code=1
    )
    assert place.one("SELECT count(account_id) FROM provider_submissions") == 0
    place.manage(ACCOUNT.format("b", "past@b") + " --status disabled")
    place.manage(AFTER)
    assert place.one("SELECT count(account_id) FROM provider_submissions") == 2


@check(on=On.COPY)
def retry_keeps_params(place: Place) -> None:
    [[job]] = place.ask("SELECT id FROM jobs WHERE status = 'failed'")
    place.manage(f"job {job} retry")
    assert place.sql(f"SELECT status, params ->> 'prompt' FROM jobs WHERE id = {job}") == [
        ("pending", "a red fox")
    ]


@check()
def as_a_module(place: Place) -> None:
    settings = {"DJANGO_SETTINGS_MODULE": "pixsim.settings"}
    assert "At head" in place.process("python -m django db status", env=settings)


@check(on=On.COPY)
def back_to_the_contract(place: Place) -> None:
    place.says("db downgrade providers 0002 --plan", "providers 0005_submission_account_required")
    place.manage("db downgrade -1 --yes")
    place.says("db status", "1 pending", code=1)


@check()
def described(place: Place) -> None:
    assert "params" in place.psql(r"\d jobs")
    assert "ix_provider_submissions_account_id" in place.psql(r"\d provider_submissions")


@check(on=On.COPY)
def guesses_to_review(place: Place) -> None:
    page = "/admin/providers/providersubmission/?account_source__exact=backfill"
    assert "1 provider submission" in place.page(page)
    guesses = "SELECT count(*) FROM provider_submissions WHERE account_source = 'backfill'"
    assert place.sql(guesses) == [(1,)]


@check(on=On.COPY)
def params_are_saved(place: Place) -> None:
    place.manage(f"{GENERATE} --key once")
    assert place.sql("SELECT params ->> 'prompt' FROM jobs WHERE idempotency_key = 'once'") == [
        ("a fox",)
    ]


@check(on=On.COPY)
def account_is_stored(place: Place) -> None:
    place.manage(f"{GENERATE} --param width=64 --param height=64 --key once")
    made = (
        "SELECT account_id, account_source FROM provider_submissions JOIN jobs ON jobs.id = job_id"
        " WHERE idempotency_key = 'once'"
    )
    place.work(until=lambda: place.ask(made))
    [[account, source]] = place.sql(made)
    assert (bool(account), source) == (True, "recorded")


@check(on=On.COPY)
def times_out(place: Place) -> None:
    place.ask(
        "UPDATE provider_submissions SET deadline_at = now() - interval '1 h', next_poll_at = now(),"
        " provider_job_id = 'gone' WHERE status = 'accepted'"
    )
    late = "SELECT status FROM provider_submissions WHERE deadline_at < now()"
    place.work(until=lambda: place.ask(late) != [("accepted",)])
    assert place.sql(late) == [("timed_out",)]


GUIDE = Guide(
    "pixsim7-params",
    "PixSim7, params and account_id",
    "The page of revision daa977a0bfa9: parameters of a job, and the account of a submission.",
    (
        Row(
            "`jobs.params` JSON, not null, default `{}`",
            FULFILLED,
            "`jobs.params`",
            column("jobs", "params", "jsonb", default="'{}'::jsonb"),
            "It is jsonb.",
        ),
        Row(
            "it holds the generation's parameters for retry and re-creation",
            FULFILLED,
            "`manage.py job ID retry`",
            retry_keeps_params,
        ),
        Row(
            "`provider_submissions.account_id` integer not null, foreign key to"
            " `provider_accounts.id`",
            FULFILLED,
            "`provider_submissions.account_id`",
            every(
                column("provider_submissions", "account_id", "integer"),
                constraint(
                    "provider_submissions",
                    "fk_provider_submissions_account_id",
                    "FOREIGN KEY (account_id) REFERENCES provider_accounts(id)",
                ),
            ),
            "An account with submissions cannot be deleted, only disabled.",
        ),
        Row(
            "index `ix_provider_submissions_account_id`",
            FULFILLED,
            "`ix_provider_submissions_account_id`",
            index(
                "provider_submissions", "ix_provider_submissions_account_id", "btree (account_id)"
            ),
        ),
        Row(
            "existing rows get the first account of the same provider",
            FULFILLED,
            "`manage.py migrate providers 0005`",
            first_account,
            "Such rows say `account_source = 'backfill'`, so a guess is never taken for a record.",
        ),
        Row(
            "run by `alembic upgrade head` from a folder",
            FULFILLED,
            "`manage.py db upgrade head`",
            common.upgrade,
            "From the folder that has `manage.py`.",
        ),
        Row(
            "run with an environment variable, or as a Python module",
            TRANSLATED,
            "`python -m django db status`, with DJANGO_SETTINGS_MODULE in the environment",
            as_a_module,
        ),
        Row(
            "`alembic current` shows `daa977a0bfa9 (head)`",
            TRANSLATED,
            "`manage.py db status`",
            current,
            "The first line names it where it is this point; `(head)` stands behind what is ours.",
        ),
        Row(
            r"`\d jobs` and `\d provider_submissions` show the columns",
            FULFILLED,
            r"`\d jobs` in psql",
            described,
        ),
        Row(
            "`SELECT COUNT(*) FROM provider_submissions WHERE account_id IS NULL` gives 0",
            FULFILLED,
            "the same query",
            query("SELECT COUNT(*) FROM provider_submissions WHERE account_id IS NULL", (0,)),
        ),
        Row(
            "`alembic downgrade -1` takes it back",
            TRANSLATED,
            "`manage.py db downgrade -1`",
            back_to_the_contract,
            "That is the last one applied; to that revision's point it is"
            " `manage.py db downgrade providers 0002`.",
        ),
        Row(
            "assignments are to be reviewed afterwards",
            FULFILLED,
            "admin, *Provider submissions*, filter *account source*",
            guesses_to_review,
        ),
        Row(
            "back up first",
            FULFILLED,
            "`manage.py db backup`",
            common.backup,
            "It checks the dump.",
        ),
        Row(
            "it fails if a submission's provider has no account",
            FULFILLED,
            "`manage.py provider_account add`",
            no_account,
            "It stops before anything is written, and names the providers and this command.",
        ),
        Row(
            "with it came: params saved by the job service",
            FULFILLED,
            "`manage.py generate`",
            params_are_saved,
        ),
        Row(
            "account stored by the provider service",
            FULFILLED,
            "`provider_submissions.account_id`",
            account_is_stored,
            "It is written before the provider is called.",
        ),
        Row(
            "account concurrency tracking",
            FULFILLED,
            "`manage.py providers accounts list`",
            command("providers accounts list", "1/2"),
            "Slots in use are counted from the live submissions.",
        ),
        Row(
            "job timeouts",
            FULFILLED,
            "`provider_submissions.deadline_at`",
            times_out,
            "Each operation has its deadline; the provider is asked once more, then it has timed out.",
        ),
        Row(
            "parameter validation",
            FULFILLED,
            "`manage.py providers schema PROVIDER OPERATION`",
            command(
                f"{GENERATE} --param width=9000 --param colour=red",
                "param width: Input should be less than or equal to 4096",
                "param colour: Extra inputs are not permitted",
                code=2,
            ),
            "Every wrong parameter is named before anything is kept or spent.",
        ),
    ),
)
