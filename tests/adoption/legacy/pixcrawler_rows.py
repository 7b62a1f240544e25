"""What a PixCrawler that was used for months has in its tables."""
# ruff: noqa: E501

from collections.abc import Mapping

from tests.adoption.legacy.building import Run
from tests.adoption.legacy.rows import Rows, fill
from tests.tables import Table

CHUNKS_PER_JOB = 10
SINCE = "timestamptz '2025-03-01 08:00:00.000123+00'"
PROFILE = "md5('profile' || (1 + n % {profiles}))::uuid"
CREDIT_ACCOUNT = "md5('credit' || (1 + n % {profiles}))::uuid"

ROWS = {
    "profiles": Rows(
        "generate_series(1, {profiles}) AS n",
        {
            "id": "md5('profile' || n)::uuid",
            "email": "CASE WHEN n % 9 = 0 THEN 'Person' || n || '@Example.org' ELSE 'person' || n || '@example.org' END",
            "full_name": "CASE WHEN n % 3 <> 0 THEN 'Person ' || n END",
            "avatar_url": "CASE WHEN n % 5 = 0 THEN 'https://img.example/' || n END",
            "role": "CASE WHEN n % 50 = 1 THEN 'admin' ELSE 'user' END",
            "created_at": f"{SINCE} + n * interval '1 hour'",
            "updated_at": f"{SINCE} + n * interval '2 hours'",
            "user_tier": "(ARRAY['FREE', 'PRO', 'ENTERPRISE'])[1 + n % 3]",
        },
    ),
    "projects": Rows(
        "generate_series(1, {projects}) AS n",
        {
            "name": "'Project ' || n",
            "description": "CASE WHEN n % 2 = 0 THEN 'About ' || n END",
            "user_id": PROFILE,
            "status": "CASE WHEN n % 7 = 0 THEN 'archived' ELSE 'active' END",
            "created_at": f"{SINCE} + n * interval '1 hour'",
            "updated_at": f"{SINCE} + n * interval '1 hour'",
        },
    ),
    "crawl_jobs": Rows(
        "generate_series(1, {jobs}) AS n",
        {
            "project_id": "1 + n % {projects}",
            "name": "'Crawl ' || n",
            "keywords": """(ARRAY['["cat", "dog"]', '["Zoë"]', '[]'])[1 + n % 3]::jsonb""",
            "max_images": f"{10 * CHUNKS_PER_JOB}",
            "status": """CASE n % 10 WHEN 0 THEN 'pending' WHEN 1 THEN 'running' WHEN 2 THEN 'failed'
                WHEN 3 THEN 'cancelled' ELSE 'completed' END""",
            "progress": "CASE WHEN n % 10 > 3 THEN 100 ELSE 0 END",
            "total_images": "CASE WHEN n % 10 > 3 THEN 120 ELSE 0 END",
            "downloaded_images": "CASE WHEN n % 10 > 3 THEN 110 ELSE 0 END",
            "valid_images": "CASE WHEN n % 10 > 3 THEN 100 ELSE 0 END",
            "started_at": f"CASE WHEN n % 10 > 0 THEN {SINCE} + n * interval '8 minutes' END",
            "completed_at": f"CASE WHEN n % 10 > 1 THEN {SINCE} + n * interval '9 minutes' END",
            "created_at": f"{SINCE} + n * interval '7 minutes 13.000007 seconds'",
            "updated_at": f"{SINCE} + n * interval '9 minutes'",
            "total_chunks": "0",
            "active_chunks": "0",
            "completed_chunks": "0",
            "failed_chunks": "0",
            "task_ids": "jsonb_build_array('task-' || n)",
        },
    ),
    "job_chunks": Rows(
        f"(SELECT n, 1 + (n - 1) / {CHUNKS_PER_JOB} AS job, (n - 1) % {CHUNKS_PER_JOB} AS i"
        f" FROM generate_series(1, {{jobs}} * {CHUNKS_PER_JOB}) AS n) AS chunk",
        {
            "job_id": "job",
            "chunk_index": "i",
            "status": """CASE job % 10 WHEN 0 THEN 'pending' WHEN 2 THEN 'failed' WHEN 3 THEN 'pending'
                WHEN 1 THEN (ARRAY['completed', 'processing', 'pending', 'failed'])[1 + i % 4]
                ELSE 'completed' END""",
            "priority": "n % 11",
            "image_range": "jsonb_build_object('start', i * 10, 'end', i * 10 + 10)",
            "error_message": "CASE WHEN job % 10 = 2 THEN 'no images found' END",
            "retry_count": "CASE WHEN job % 10 = 2 THEN 3 ELSE 0 END",
            "task_id": "CASE WHEN job % 10 NOT IN (0, 3) THEN 'task-' || n END",
            "created_at": f"{SINCE} + job * interval '7 minutes 13.000007 seconds'",
            "updated_at": f"{SINCE} + job * interval '9 minutes'",
        },
    ),
    "images": Rows(
        "(SELECT n, 1 + (n - 1) / 5 AS job FROM generate_series(1, {jobs} * 5) AS n) AS image WHERE job % 10 > 3",
        {
            "crawl_job_id": "job",
            "original_url": "'https://pictures.example/' || n || '.jpg?q=a b'",
            "filename": "n || '.jpg'",
            "storage_url": "CASE WHEN n % 2 = 0 THEN 's3://old/' || n || '.jpg' END",
            "width": "640",
            "height": "480",
            "file_size": "CASE WHEN n % 7 <> 0 THEN 50000 + n END",
            "format": "'jpeg'",
        },
    ),
    "activity_logs": Rows(
        "generate_series(1, {jobs}) AS n",
        {
            "user_id": f"CASE WHEN n % 4 <> 0 THEN {PROFILE} END",
            "action": "'crawl_job.started'",
            "resource_type": "'crawl_job'",
            "resource_id": "n::text",
            "metadata_": """CASE WHEN n % 2 = 0 THEN '{"ip": "10.0.0.1"}'::jsonb END""",
            "timestamp": f"{SINCE} + n * interval '1 minute'",
        },
    ),
    "credit_accounts": Rows(
        "generate_series(0, {profiles} - 1) AS n",
        {
            "id": CREDIT_ACCOUNT,
            "user_id": PROFILE,
            "current_balance": "n % 500",
            "average_daily_usage": "n / 100.0",
            "created_at": f"{SINCE}",
            "updated_at": f"{SINCE}",
        },
    ),
    "credit_transactions": Rows(
        "generate_series(1, 3 * {profiles}) AS n",
        {
            "id": "md5('transaction' || n)::uuid",
            "account_id": CREDIT_ACCOUNT,
            "user_id": PROFILE,
            "type": "(ARRAY['purchase', 'usage', 'refund', 'bonus'])[1 + n % 4]",
            "description": "'Transaction ' || n",
            "amount": "n % 100 - 50",
            "balance_after": "n % 500",
            "status": "(ARRAY['completed', 'pending', 'failed', 'cancelled'])[1 + n % 4]",
            "metadata": """CASE WHEN n % 2 = 0 THEN '{"order": 7}'::jsonb END""",
            "created_at": f"{SINCE} + n * interval '1 minute'",
        },
    ),
    "notifications": Rows(
        "generate_series(1, 2 * {profiles}) AS n",
        {
            "user_id": PROFILE,
            "title": "'Notice ' || n",
            "message": "'Your crawl has ended.'",
            "type": "(ARRAY['success', 'info', 'warning', 'error'])[1 + n % 4]",
            "category": "(ARRAY[NULL, 'crawl_job', 'payment', 'system', 'security', 'dataset', 'project'])[1 + n % 7]",
            "is_read": "n % 2 = 0",
            "read_at": f"CASE WHEN n % 2 = 0 THEN {SINCE} END",
            "metadata": """CASE WHEN n % 3 = 0 THEN '{"job": 1}'::jsonb END""",
            "created_at": f"{SINCE} + n * interval '1 minute'",
        },
    ),
    "notification_preferences": Rows(
        "generate_series(0, {profiles} - 1) AS n",
        {
            "id": "md5('preferences' || n)::uuid",
            "user_id": PROFILE,
            "digest_frequency": "(ARRAY['realtime', 'daily', 'weekly', 'never'])[1 + n % 4]",
            "quiet_hours_start": "CASE WHEN n % 2 = 0 THEN time '22:00' END",
            "quiet_hours_end": "CASE WHEN n % 2 = 0 THEN time '07:30' END",
            "created_at": f"{SINCE}",
            "updated_at": f"{SINCE}",
        },
    ),
    "api_keys": Rows(
        "generate_series(1, {profiles}) AS n",
        {
            "id": "md5('key' || n)::uuid",
            "user_id": PROFILE,
            "name": "'Key ' || n",
            "key_hash": "md5('h' || n) || md5('i' || n)",
            "key_prefix": "'pk_' || n",
            "status": "(ARRAY['active', 'revoked', 'expired'])[1 + n % 3]",
            "permissions": """CASE WHEN n % 2 = 0 THEN '["read"]'::jsonb ELSE '[]'::jsonb END""",
            "last_used_ip": "CASE WHEN n % 2 = 0 THEN '2001:db8::1' END",
            "created_at": f"{SINCE}",
            "updated_at": f"{SINCE}",
        },
    ),
    "usage_metrics": Rows(
        "generate_series(1, 2 * {profiles}) AS n",
        {
            "id": "md5('usage' || n)::uuid",
            "user_id": PROFILE,
            "metric_date": "date '2025-03-01' + n / {profiles}",
            "images_processed": "n",
            "storage_used_gb": "n / 100.0",
            "created_at": f"{SINCE}",
        },
    ),
}

COUNT_CHUNKS = """
UPDATE crawl_jobs SET total_chunks = total, active_chunks = active, completed_chunks = done,
       failed_chunks = bad
  FROM (SELECT job_id, count(*) AS total, count(*) FILTER (WHERE status = 'processing') AS active,
               count(*) FILTER (WHERE status = 'completed') AS done,
               count(*) FILTER (WHERE status = 'failed') AS bad
          FROM job_chunks GROUP BY job_id) AS counted
 WHERE job_id = crawl_jobs.id
"""


def fill_pixcrawler(run: Run, tables: Mapping[str, Table], *, jobs: int) -> None:
    """`jobs` crawl jobs, ten chunks each, and the people, images and records that belong to them."""
    fill(run, tables, ROWS, jobs=jobs, profiles=max(15, jobs // 20), projects=max(8, jobs // 10))
    if "job_chunks" in tables:
        run(COUNT_CHUNKS)
