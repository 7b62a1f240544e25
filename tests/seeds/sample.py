"""The rows that the shared database has: one of everything that the guides ask for."""

from hashlib import sha256
from inspect import getsource

from django.contrib.auth.models import User
from django.db import connection

PEOPLE = {"ada": "FREE", "bob": "PRO", "eve": "ENTERPRISE"}
ROWS = """
UPDATE profiles SET user_tier = tier FROM unnest(%(emails)s::text[], %(tiers)s::text[])
    AS given (mail, tier) WHERE email = mail;
INSERT INTO projects (name, user_id, status)
    SELECT 'foxes', id, 'active' FROM profiles WHERE email = 'bob@example.org';
INSERT INTO crawl_jobs (project_id, name, keywords, max_images, status, progress, total_images,
    downloaded_images, valid_images, total_chunks, active_chunks, completed_chunks, failed_chunks,
    task_ids, started_at)
    SELECT id, 'foxes', '["fox"]', 70, 'running', 14, 10, 10, 10, 7, 4, 1, 2, '[]', now() FROM projects;
INSERT INTO job_chunks (job_id, chunk_index, image_range, owner_id, priority, status, retry_count,
    error_message, task_id, ready_at, held, available_at, started_at, finished_at, lease_id,
    lease_expires_at, created_at)
SELECT crawl_jobs.id, place, jsonb_build_object('start', place * 10, 'end', place * 10 + 10),
    projects.user_id, urgency, state, retries, failure, task,
    CASE WHEN state IN ('pending', 'processing') AND place <> 1 THEN now() END, place = 1,
    CASE WHEN place = 1 THEN now() + interval '1 day' END,
    CASE WHEN state <> 'pending' THEN now() - interval '4 s' END,
    CASE WHEN state IN ('completed', 'failed') THEN now() - interval '1 s' END,
    CASE WHEN state = 'processing' THEN nextval('work_lease_id_seq') END,
    CASE WHEN state = 'processing' THEN now() + interval '1 day' END,
    now() - place * interval '1 min'
FROM crawl_jobs JOIN projects ON projects.id = project_id, (VALUES
    (0, 3, 'pending', 0, NULL, NULL),
    (1, 5, 'pending', 1, 'Connection reset', 'task-1'),
    (2, 5, 'pending', 0, NULL, NULL),
    (3, 4, 'processing', 0, NULL, 'task-3'),
    (4, 3, 'completed', 0, NULL, 'task-4'),
    (5, 3, 'failed', 3, 'No space left on device', 'task-5'),
    (6, 3, 'failed', 3, 'ValueError: not a list', 'task-6')
) AS chunk (place, urgency, state, retries, failure, task);
INSERT INTO provider_accounts (provider_id, email, max_concurrent_jobs)
    VALUES ('local', 'first@example.org', 2), ('local', 'second@example.org', 2);
INSERT INTO jobs (user_id, owner_id, operation_type, provider_id, params, status, priority,
    created_at, started_at, completed_at, retry_count, error_message)
SELECT profiles.user_id, profiles.id, 'text_to_image', 'local', given, state, 5, now(), begun, ended,
    CASE WHEN state = 'failed' THEN 3 ELSE 0 END, failure
FROM profiles, (VALUES
    ('{"prompt": "a red fox"}'::jsonb, 'failed', now(), now(), 'The disk is full'),
    ('{"prompt": "a grey fox"}', 'completed', now(), now(), NULL),
    ('{"prompt": "a white fox"}', 'processing', now(), NULL, NULL)
) AS job (given, state, begun, ended, failure) WHERE email = 'bob@example.org';
INSERT INTO provider_submissions (job_id, account_id, provider_id, status, account_source, reference,
    responded_at, deadline_at, next_poll_at)
SELECT jobs.id, provider_accounts.id, 'local',
    CASE jobs.status WHEN 'processing' THEN 'accepted' WHEN 'completed' THEN 'succeeded' ELSE 'failed' END,
    CASE jobs.status WHEN 'completed' THEN 'backfill' ELSE 'recorded' END, 'reference-' || jobs.id,
    now(), now() + interval '1 day',
    CASE jobs.status WHEN 'processing' THEN now() + interval '1 day' END
FROM jobs, provider_accounts WHERE email = 'first@example.org';
ANALYZE;
"""


def fill() -> None:
    """Write the rows into the default database, which is at the head and has none."""
    for name in PEOPLE:
        User.objects.create_user(name, f"{name}@example.org", is_staff=True, is_superuser=True)
    emails = [f"{name}@example.org" for name in PEOPLE]
    with connection.cursor() as cursor:
        for statement in ROWS.split(";\n"):
            if statement.strip():
                cursor.execute(statement, {"emails": emails, "tiers": list(PEOPLE.values())})


def digest() -> str:
    """Return a name for the rows as they are written now."""
    return sha256(f"{ROWS}{PEOPLE}{getsource(fill)}".encode()).hexdigest()[:8]
