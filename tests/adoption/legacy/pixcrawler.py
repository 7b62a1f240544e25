"""PixCrawler's tables: its base, revision 001 (chunks) and revision 002 (tiers), from its catalogue."""
# ruff: noqa: E501  (definitions as the catalogue prints them)

from tests.adoption.legacy.building import without
from tests.tables import Column, Table

REVISIONS = (None, "001", "002")
"""None: before Alembic was used, without a version row."""

ACCOUNTS_TABLES = {
    "profiles": Table(
        columns=[
            Column("id", "uuid", False),
            Column("email", "character varying(255)", False),
            Column("full_name", "character varying(100)", True),
            Column("avatar_url", "text", True),
            Column("role", "character varying(20)", False),
            Column("created_at", "timestamp with time zone", False, "now()"),
            Column("updated_at", "timestamp with time zone", False, "now()"),
            Column("user_tier", "character varying(20)", False, "'FREE'"),
        ],
        indexes={
            "ix_profiles_user_tier": "btree (user_tier)",
            "profiles_email_key": "unique btree (email)",
            "profiles_pkey": "unique btree (id)",
        },
        constraints={
            "ck_profiles_user_tier_valid": "CHECK (((user_tier)::text = ANY ((ARRAY['FREE'::character varying, 'PRO'::character varying, 'ENTERPRISE'::character varying])::text[])))",
        },
    ),
    "credit_accounts": Table(
        columns=[
            Column("id", "uuid", False, "gen_random_uuid()"),
            Column("user_id", "uuid", False),
            Column("current_balance", "integer", False, "0"),
            Column("monthly_usage", "integer", False, "0"),
            Column("average_daily_usage", "numeric(10,2)", False, "0.00"),
            Column("auto_refill_enabled", "boolean", False, "false"),
            Column("refill_threshold", "integer", False, "100"),
            Column("refill_amount", "integer", False, "500"),
            Column("monthly_limit", "integer", False, "2000"),
            Column("created_at", "timestamp with time zone", False, "now()"),
            Column("updated_at", "timestamp with time zone", False, "now()"),
        ],
        indexes={
            "credit_accounts_pkey": "unique btree (id)",
            "ix_credit_accounts_user_id": "unique btree (user_id)",
        },
        constraints={
            "ck_credit_accounts_balance_positive": "CHECK ((current_balance >= 0))",
            "ck_credit_accounts_monthly_limit_positive": "CHECK ((monthly_limit > 0))",
            "ck_credit_accounts_monthly_usage_positive": "CHECK ((monthly_usage >= 0))",
            "ck_credit_accounts_refill_amount_positive": "CHECK ((refill_amount > 0))",
            "ck_credit_accounts_refill_threshold_positive": "CHECK ((refill_threshold > 0))",
        },
    ),
    "credit_transactions": Table(
        columns=[
            Column("id", "uuid", False, "gen_random_uuid()"),
            Column("account_id", "uuid", False),
            Column("user_id", "uuid", False),
            Column("type", "character varying(20)", False),
            Column("description", "text", False),
            Column("amount", "integer", False),
            Column("balance_after", "integer", False),
            Column("status", "character varying(20)", False, "'completed'"),
            Column("metadata", "jsonb", True),
            Column("created_at", "timestamp with time zone", False, "now()"),
        ],
        indexes={
            "credit_transactions_pkey": "unique btree (id)",
            "ix_credit_transactions_account_id": "btree (account_id)",
            "ix_credit_transactions_created_at": "btree (created_at)",
            "ix_credit_transactions_status": "btree (status)",
            "ix_credit_transactions_type": "btree (type)",
            "ix_credit_transactions_user_created": "btree (user_id, created_at)",
            "ix_credit_transactions_user_id": "btree (user_id)",
        },
        constraints={
            "ck_credit_transactions_balance_positive": "CHECK ((balance_after >= 0))",
            "ck_credit_transactions_status_valid": "CHECK (((status)::text = ANY ((ARRAY['completed'::character varying, 'pending'::character varying, 'failed'::character varying, 'cancelled'::character varying])::text[])))",
            "ck_credit_transactions_type_valid": "CHECK (((type)::text = ANY ((ARRAY['purchase'::character varying, 'usage'::character varying, 'refund'::character varying, 'bonus'::character varying])::text[])))",
        },
    ),
    "notifications": Table(
        columns=[
            Column("id", "integer", False, "nextval('notifications_id_seq')"),
            Column("user_id", "uuid", False),
            Column("title", "character varying(255)", False),
            Column("message", "text", False),
            Column("type", "character varying(50)", False),
            Column("category", "character varying(50)", True),
            Column("icon", "character varying(50)", True),
            Column("color", "character varying(20)", True),
            Column("action_url", "text", True),
            Column("action_label", "character varying(100)", True),
            Column("is_read", "boolean", False, "false"),
            Column("read_at", "timestamp with time zone", True),
            Column("metadata", "jsonb", True),
            Column("created_at", "timestamp with time zone", False, "now()"),
        ],
        indexes={
            "ix_notifications_category": "btree (category)",
            "ix_notifications_created_at": "btree (created_at)",
            "ix_notifications_is_read": "btree (is_read)",
            "ix_notifications_type": "btree (type)",
            "ix_notifications_user_created": "btree (user_id, created_at)",
            "ix_notifications_user_id": "btree (user_id)",
            "ix_notifications_user_unread": "btree (user_id, is_read) WHERE (is_read = false)",
            "notifications_pkey": "unique btree (id)",
        },
        constraints={
            "ck_notifications_category_valid": "CHECK ((((category)::text = ANY ((ARRAY['crawl_job'::character varying, 'payment'::character varying, 'system'::character varying, 'security'::character varying, 'dataset'::character varying, 'project'::character varying])::text[])) OR (category IS NULL)))",
            "ck_notifications_type_valid": "CHECK (((type)::text = ANY ((ARRAY['success'::character varying, 'info'::character varying, 'warning'::character varying, 'error'::character varying])::text[])))",
        },
    ),
    "notification_preferences": Table(
        columns=[
            Column("id", "uuid", False, "gen_random_uuid()"),
            Column("user_id", "uuid", False),
            Column("email_enabled", "boolean", False, "true"),
            Column("push_enabled", "boolean", False, "false"),
            Column("sms_enabled", "boolean", False, "false"),
            Column("crawl_jobs_enabled", "boolean", False, "true"),
            Column("datasets_enabled", "boolean", False, "true"),
            Column("billing_enabled", "boolean", False, "true"),
            Column("security_enabled", "boolean", False, "true"),
            Column("marketing_enabled", "boolean", False, "false"),
            Column("product_updates_enabled", "boolean", False, "true"),
            Column("digest_frequency", "character varying(20)", False, "'daily'"),
            Column("quiet_hours_start", "time without time zone", True),
            Column("quiet_hours_end", "time without time zone", True),
            Column("created_at", "timestamp with time zone", False, "now()"),
            Column("updated_at", "timestamp with time zone", False, "now()"),
        ],
        indexes={
            "ix_notification_preferences_user_id": "unique btree (user_id)",
            "notification_preferences_pkey": "unique btree (id)",
        },
        constraints={
            "ck_notification_preferences_digest_frequency_valid": "CHECK (((digest_frequency)::text = ANY ((ARRAY['realtime'::character varying, 'daily'::character varying, 'weekly'::character varying, 'never'::character varying])::text[])))",
        },
    ),
    "api_keys": Table(
        columns=[
            Column("id", "uuid", False, "gen_random_uuid()"),
            Column("user_id", "uuid", False),
            Column("name", "character varying(200)", False),
            Column("key_hash", "character varying(255)", False),
            Column("key_prefix", "character varying(20)", False),
            Column("status", "character varying(20)", False, "'active'"),
            Column("permissions", "jsonb", False, "'[]'::jsonb"),
            Column("rate_limit", "integer", False, "1000"),
            Column("usage_count", "integer", False, "0"),
            Column("last_used_at", "timestamp with time zone", True),
            Column("last_used_ip", "character varying(45)", True),
            Column("expires_at", "timestamp with time zone", True),
            Column("created_at", "timestamp with time zone", False, "now()"),
            Column("updated_at", "timestamp with time zone", False, "now()"),
        ],
        indexes={
            "api_keys_pkey": "unique btree (id)",
            "ix_api_keys_expires_at": "btree (expires_at)",
            "ix_api_keys_key_hash": "btree (key_hash)",
            "ix_api_keys_key_prefix": "btree (key_prefix)",
            "ix_api_keys_last_used_at": "btree (last_used_at)",
            "ix_api_keys_status": "btree (status)",
            "ix_api_keys_user_id": "btree (user_id)",
            "ix_api_keys_user_status": "btree (user_id, status)",
        },
        constraints={
            "ck_api_keys_rate_limit_positive": "CHECK ((rate_limit > 0))",
            "ck_api_keys_status_valid": "CHECK (((status)::text = ANY ((ARRAY['active'::character varying, 'revoked'::character varying, 'expired'::character varying])::text[])))",
            "ck_api_keys_usage_count_positive": "CHECK ((usage_count >= 0))",
        },
    ),
    "usage_metrics": Table(
        columns=[
            Column("id", "uuid", False, "gen_random_uuid()"),
            Column("user_id", "uuid", False),
            Column("metric_date", "date", False),
            Column("images_processed", "integer", False, "0"),
            Column("images_limit", "integer", False, "10000"),
            Column("storage_used_gb", "numeric(10,2)", False, "0.00"),
            Column("storage_limit_gb", "numeric(10,2)", False, "100.00"),
            Column("api_calls", "integer", False, "0"),
            Column("api_calls_limit", "integer", False, "50000"),
            Column("bandwidth_used_gb", "numeric(10,2)", False, "0.00"),
            Column("bandwidth_limit_gb", "numeric(10,2)", False, "500.00"),
            Column("created_at", "timestamp with time zone", False, "now()"),
        ],
        indexes={
            "ix_usage_metrics_metric_date": "btree (metric_date)",
            "ix_usage_metrics_user_date": "btree (user_id, metric_date)",
            "ix_usage_metrics_user_id": "btree (user_id)",
            "uq_usage_metrics_user_date": "unique btree (user_id, metric_date)",
            "usage_metrics_pkey": "unique btree (id)",
        },
        constraints={
            "ck_usage_metrics_api_calls_limit_positive": "CHECK ((api_calls_limit > 0))",
            "ck_usage_metrics_api_calls_positive": "CHECK ((api_calls >= 0))",
            "ck_usage_metrics_bandwidth_limit_positive": "CHECK ((bandwidth_limit_gb > (0)::numeric))",
            "ck_usage_metrics_bandwidth_used_positive": "CHECK ((bandwidth_used_gb >= (0)::numeric))",
            "ck_usage_metrics_images_limit_positive": "CHECK ((images_limit > 0))",
            "ck_usage_metrics_images_processed_positive": "CHECK ((images_processed >= 0))",
            "ck_usage_metrics_storage_limit_positive": "CHECK ((storage_limit_gb > (0)::numeric))",
            "ck_usage_metrics_storage_used_positive": "CHECK ((storage_used_gb >= (0)::numeric))",
        },
    ),
    "activity_logs": Table(
        columns=[
            Column("id", "integer", False, "nextval('activity_logs_id_seq')"),
            Column("user_id", "uuid", True),
            Column("action", "text", False),
            Column("resource_type", "character varying(50)", True),
            Column("resource_id", "character varying(50)", True),
            Column("metadata_", "jsonb", True),
            Column("timestamp", "timestamp with time zone", False, "now()"),
        ],
        indexes={
            "activity_logs_pkey": "unique btree (id)",
        },
    ),
}

DATASET_TABLES = {
    "projects": Table(
        columns=[
            Column("id", "integer", False, "nextval('projects_id_seq')"),
            Column("name", "character varying(100)", False),
            Column("description", "text", True),
            Column("user_id", "uuid", False),
            Column("status", "character varying(20)", False),
            Column("created_at", "timestamp with time zone", False, "now()"),
            Column("updated_at", "timestamp with time zone", False, "now()"),
        ],
        indexes={
            "projects_pkey": "unique btree (id)",
        },
    ),
    "crawl_jobs": Table(
        columns=[
            Column("id", "integer", False, "nextval('crawl_jobs_id_seq')"),
            Column("project_id", "integer", False),
            Column("name", "character varying(100)", False),
            Column("keywords", "jsonb", False),
            Column("max_images", "integer", False),
            Column("status", "character varying(20)", False),
            Column("progress", "integer", False),
            Column("total_images", "integer", False),
            Column("downloaded_images", "integer", False),
            Column("valid_images", "integer", False),
            Column("started_at", "timestamp with time zone", True),
            Column("completed_at", "timestamp with time zone", True),
            Column("created_at", "timestamp with time zone", False, "now()"),
            Column("updated_at", "timestamp with time zone", False, "now()"),
            Column("total_chunks", "integer", False),
            Column("active_chunks", "integer", False),
            Column("completed_chunks", "integer", False),
            Column("failed_chunks", "integer", False),
            Column("task_ids", "jsonb", False),
        ],
        indexes={
            "crawl_jobs_pkey": "unique btree (id)",
        },
    ),
    "job_chunks": Table(
        columns=[
            Column("id", "integer", False, "nextval('job_chunks_id_seq')"),
            Column("job_id", "integer", False),
            Column("chunk_index", "integer", False),
            Column("status", "character varying(20)", False, "'pending'"),
            Column("priority", "integer", False, "5"),
            Column("image_range", "jsonb", False),
            Column("error_message", "text", True),
            Column("retry_count", "integer", False, "0"),
            Column("task_id", "character varying(255)", True),
            Column("created_at", "timestamp with time zone", False, "now()"),
            Column("updated_at", "timestamp with time zone", False, "now()"),
        ],
        indexes={
            "ix_job_chunks_job_id": "btree (job_id)",
            "ix_job_chunks_job_status": "btree (job_id, status)",
            "ix_job_chunks_priority_created": "btree (priority, created_at)",
            "ix_job_chunks_status": "btree (status)",
            "ix_job_chunks_task_id": "btree (task_id)",
            "job_chunks_pkey": "unique btree (id)",
        },
        constraints={
            "ck_job_chunks_priority_range": "CHECK (((priority >= 0) AND (priority <= 10)))",
            "ck_job_chunks_retry_count_positive": "CHECK ((retry_count >= 0))",
            "ck_job_chunks_status_valid": "CHECK (((status)::text = ANY ((ARRAY['pending'::character varying, 'processing'::character varying, 'completed'::character varying, 'failed'::character varying])::text[])))",
            "job_chunks_job_id_fkey": "FOREIGN KEY (job_id) REFERENCES crawl_jobs(id) ON DELETE CASCADE",
        },
    ),
    "images": Table(
        columns=[
            Column("id", "integer", False, "nextval('images_id_seq')"),
            Column("crawl_job_id", "integer", False),
            Column("original_url", "text", False),
            Column("filename", "character varying(255)", False),
            Column("storage_url", "text", True),
            Column("width", "integer", True),
            Column("height", "integer", True),
            Column("file_size", "integer", True),
            Column("format", "character varying(10)", True),
        ],
        indexes={
            "images_pkey": "unique btree (id)",
        },
    ),
}

TABLES = {**ACCOUNTS_TABLES, **DATASET_TABLES}
UNIQUE_CONSTRAINTS = {"profiles_email_key", "uq_usage_metrics_user_date"}


def tables_at(revision: str | None) -> dict[str, Table]:
    """The tables of one state."""
    tables = dict(TABLES)
    if revision != "002":
        tables["profiles"] = without(tables["profiles"], "user_tier")
    if revision is None:
        del tables["job_chunks"]
    return tables
