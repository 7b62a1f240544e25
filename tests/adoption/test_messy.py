"""What real sites do to their databases is taken over too, or named and put aside with the reason."""

import json

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import call_command

from providers.models import ProviderAccount
from tests.adoption import proof
from tests.adoption.legacy import messy
from tests.adoption.legacy.messy import FIRST_KEY
from tests.adoption.legacy.passwords import PLAIN
from tests.scratch import ALIAS


@pytest.fixture
def head(sql, db):
    """Adopts, goes to the head, and lets `verify` judge it, which knows the site's `own` columns.
    Returns what was put aside, by reason, which the report has foretold."""

    def go(*own):
        report = db("adopt", "--json")
        assert report.code == 0, report.out + report.err
        ran = db("adopt", "--apply", "--yes", "--json")
        assert ran.code == 0, ran.out + ran.err
        call_command("migrate", database=ALIAS, verbosity=0)
        verified = db("verify", "--json").json
        assert verified["differences"] == []
        assert [f"{one['table']}.{one['name']}" for one in verified["accepted"]] == list(own)
        assert verified["invariants"] == []
        foretold = {
            (each["table"], each["reason"]): each["rows"] for each in report.json["quarantine"]
        }
        aside = {}
        for table in {table for table, _ in foretold}:
            rows = sql(
                f"SELECT quarantine_reason, count(*) FROM adoption_quarantine_{table} GROUP BY 1"
            )
            aside.update({(table, reason): count for reason, count in rows})
        assert aside == foretold
        return aside

    return go


@pytest.mark.long
def test_a_pixcrawler_that_was_altered_by_hand_and_breaks_our_rules(older, sql, head, models):
    state = older("pixcrawler-002")
    proof.remember(sql, state, but="notification_preferences")
    messy.dangling_images(sql, 50_000)
    messy.dangling_projects(sql)
    messy.dangling_records(sql)
    messy.duplicate_chunks(sql)
    messy.odd_ranges(sql)
    messy.colliding_profiles(sql)
    messy.extra_column(sql, "images")
    messy.required_extra_column(sql, "job_chunks")
    messy.extra_table(sql, "profiles")
    messy.missing_index(sql, "ix_job_chunks_status")
    messy.renamed_index(sql, "ix_job_chunks_task_id")
    messy.invalid_index(sql, "images", "filename")
    messy.naive_timestamp(sql, "crawl_jobs", "created_at")
    messy.identity(sql, "job_chunks")
    messy.restored_checks(sql, "job_chunks")
    messy.missing_table(sql, "notification_preferences")
    messy.people_elsewhere(sql)
    sql("ALTER TABLE crawl_jobs ALTER name TYPE text")
    next_key = sql("SELECT last_value + 1 FROM job_chunks_id_seq")

    aside = head("images.site_note", "job_chunks.site_code")

    assert sql("SELECT DISTINCT site_note FROM images") == [("kept",)]
    assert sql("SELECT DISTINCT site_code FROM job_chunks") == [(7,)]
    User.objects.create_superuser("boss", password=PLAIN)  # whom the site's own table does not know
    assert sql("SELECT * FROM site_overview") == [(3,)]
    assert sql("SELECT count(*) FROM site_notes JOIN profiles ON profiles.id = profiles_id") == [
        (3,)
    ]
    assert sql(
        "SELECT count(*) FROM profiles LEFT JOIN notification_preferences AS preferences"
        " ON preferences.user_id = profiles.id WHERE preferences.id IS NULL"
    ) == [(0,)]
    assert (
        sql(
            "INSERT INTO job_chunks (job_id, chunk_index, image_range)"
            """ VALUES (1, 77, '{"start": 0, "end": 1}') RETURNING id"""
        )
        == next_key
    )
    sql("DELETE FROM job_chunks WHERE chunk_index = 77")
    assert aside == {
        ("projects", "user_id points at no row of profiles (projects_user_id_fkey)"): 1,
        ("crawl_jobs", "project_id points at no row of projects (crawl_jobs_project_id_fkey)"): 2,
        ("job_chunks", "job_id points at no row of crawl_jobs (job_chunks_job_id_fkey)"): 4,
        (
            "job_chunks",
            "there is an older row with the same job_id, chunk_index (uq_job_chunks_job_index)",
        ): 3,
        (
            "images",
            "crawl_job_id points at no row of crawl_jobs (images_crawl_job_id_fkey)",
        ): 50_006,
        ("notifications", "user_id points at no row of profiles (notifications_user_id_fkey)"): 1,
        (
            "credit_accounts",
            "user_id points at no row of profiles (credit_accounts_user_id_fkey)",
        ): 1,
        (
            "credit_transactions",
            "account_id points at no row of credit_accounts (credit_transactions_account_id_fkey)",
        ): 2,
    }
    # What was well stays, beside three profiles and the boss, five odd chunks and a log line.
    added = {"profiles": 4, "job_chunks": 5, "activity_logs": 1}
    lost = proof.lost(sql, state, but="notification_preferences")
    assert [text for text in lost if not text.startswith("crawl_jobs.")] == [
        f"{name}: 0 rows are missing, {added[name]} are new"
        for name in state.tables
        if name in added
    ]
    assert sql("SELECT user_id FROM activity_logs WHERE id = %s", FIRST_KEY) == [(None,)]
    assert sql(
        "SELECT p.email, u.email FROM profiles AS p JOIN auth_user AS u ON u.id = p.user_id"
        " WHERE lower(p.email) LIKE '%dup@example.org' ORDER BY u.id"
    )[0] in [(email, email) for email in ("Dup@Example.org", "dup@example.org", "DUP@example.org")]
    assert sql("SELECT count(*) FROM auth_user WHERE lower(email) = 'dup@example.org'") == [(1,)]


@pytest.mark.long
def test_a_pixsim7_that_was_altered_by_hand_and_breaks_our_rules(older, sql, head, models):
    state = older("pixsim7-1105simplifylineage-migrated")
    proof.remember(sql, state)
    messy.nul_in_json(sql)
    messy.odd_priorities(sql)
    messy.dangling_submissions(sql, 50_000)
    messy.dangling_jobs(sql)
    messy.colliding_users(sql)
    messy.extra_column(sql, "jobs")
    messy.required_extra_column(sql, "assets")
    messy.extra_table(sql, "jobs")
    messy.missing_index(sql, "idx_job_workspace")
    messy.renamed_index(sql, "ix_provider_submissions_job_id")
    messy.invalid_index(sql, "assets", "remote_url")
    messy.naive_timestamp(sql, "jobs", "created_at")
    messy.naive_timestamp(sql, "users", "created_at")
    messy.identity(sql, "jobs")

    aside = head("assets.site_code", "jobs.site_note")

    assert proof.lost_people(sql) == [(None,)] * 3  # those who came in, with one e-mail
    assert sql("SELECT DISTINCT site_note FROM jobs") == [("kept",)]
    assert sql("SELECT DISTINCT site_code FROM assets") == [(7,)]
    assert sql("SELECT * FROM site_overview") == [(3,)]
    assert sql("SELECT count(*) FROM site_notes JOIN jobs ON jobs.id = jobs_id") == [(3,)]
    assert aside == {
        ("jobs", "it breaks ck_jobs_priority_range"): 2,
        ("jobs", "user_id points at no row of auth_user (jobs_user_id_fkey)"): 1,
        # Of those three jobs seven.
        (
            "provider_submissions",
            "job_id points at no row of jobs (provider_submissions_job_id_fkey)",
        ): 50_007,
    }
    assert set(proof.lost(sql, state)) == {
        # Jobs 5 and 6 are aside, two that refer to nothing came in.
        "jobs: 2 rows are missing, 2 are new",
        "jobs.parent_job_id: 1 values",
        "provider_submissions: 6 rows are missing, 0 are new",
        "provider_submissions.payload: 1 values",
        "assets: 0 rows are missing, 1 are new",
        "assets.tags: 1 values",
        "assets.source_job_id: 2 values",
    }
    lost = "SELECT workspace_id, parent_job_id, asset_id FROM jobs WHERE id > %s ORDER BY id"
    assert sql(lost, FIRST_KEY) == [(None, None, None), (None, None, FIRST_KEY)]
    # What jsonb cannot hold is mended, and written down as it was.
    [(payload,)] = sql("SELECT payload FROM provider_submissions WHERE id = 2")
    assert json.loads(payload) == {"p\ufffd": ["not one: \\u0000", "\ufffd"]}
    was = "SELECT was FROM adoption_changes WHERE table_name = 'assets' AND column_name = 'tags'"
    assert sql(was) == [(r'["half a pair \ud800"]',)]
    # All three can log in; an e-mail belongs to one.
    emails = User.objects.filter(pk__gte=FIRST_KEY).order_by("pk").values_list("email", flat=True)
    assert list(emails) == ["Dup@Example.org", "", ""]
    assert all(authenticate(None, username=f"dup{n}", password=PLAIN) for n in range(3))
    assert ProviderAccount.objects.get(pk=2).cookies == {"session": "x\x00"}
