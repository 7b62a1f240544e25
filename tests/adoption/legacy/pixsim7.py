"""PixSim7's tables from revision 7425b92ac62e to 1105simplifylineage, from its catalogue.

A database whose columns its migrations added differs from one that its models made in one go:
`shape` says which, where both occur.
"""
# ruff: noqa: E501  (definitions as the catalogue prints them)

from tests.adoption.legacy.building import with_columns, without
from tests.tables import Column, Table

REVISIONS = ("7425b92ac62e", "daa977a0bfa9", "2330addema", "1105simplifylineage")
SHAPES = ("migrated", "models")

ENUMS = {
    "accountstatus": ("ACTIVE", "EXHAUSTED", "ERROR", "DISABLED", "RATE_LIMITED"),
    "contentdomain": ("GENERAL", "ADULT", "MEDICAL", "SPORTS", "FASHION", "EDUCATION"),
    "jobstatus": ("PENDING", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED"),
    "mediatype": ("VIDEO", "IMAGE", "AUDIO", "MODEL_3D"),
    "operationtype": (
        "TEXT_TO_VIDEO",
        "IMAGE_TO_VIDEO",
        "VIDEO_EXTEND",
        "VIDEO_TRANSITION",
        "FUSION",
    ),
    "syncstatus": ("REMOTE", "DOWNLOADING", "DOWNLOADED", "ERROR"),
}

USERS = Table(
    columns=[
        Column("id", "integer", False, "nextval('users_id_seq')"),
        Column("email", "character varying(255)", False),
        Column("username", "character varying(100)", False),
        Column("password_hash", "character varying(255)", False),
        Column("is_active", "boolean", False),
        Column("is_verified", "boolean", False),
        Column("email_verified_at", "timestamp with time zone", True),
        Column("role", "character varying(20)", False),
        Column("max_concurrent_jobs", "integer", False),
        Column("max_daily_jobs", "integer", False),
        Column("jobs_today", "integer", False),
        Column("last_job_reset", "timestamp with time zone", True),
        Column("max_assets", "integer", False),
        Column("max_storage_gb", "double precision", False),
        Column("current_storage_gb", "double precision", False),
        Column("max_provider_accounts", "integer", False),
        Column("total_jobs_created", "integer", False),
        Column("total_jobs_completed", "integer", False),
        Column("total_jobs_failed", "integer", False),
        Column("total_assets_created", "integer", False),
        Column("display_name", "character varying(100)", True),
        Column("avatar_url", "character varying", True),
        Column("bio", "character varying", True),
        Column("preferences", "json", True),
        Column("created_at", "timestamp with time zone", False),
        Column("updated_at", "timestamp with time zone", False),
        Column("last_login_at", "timestamp with time zone", True),
    ],
    indexes={
        "ix_users_email": "unique btree (email)",
        "ix_users_is_active": "btree (is_active)",
        "ix_users_username": "unique btree (username)",
        "users_pkey": "unique btree (id)",
    },
)

GENERATION_TABLES = {
    "provider_accounts": Table(
        columns=[
            Column("id", "integer", False, "nextval('provider_accounts_id_seq')"),
            Column("user_id", "integer", True),
            Column("is_private", "boolean", False),
            Column("provider_id", "character varying(50)", False),
            Column("email", "character varying(255)", False),
            Column("password", "character varying", True),
            Column("jwt_token", "character varying", True),
            Column("api_key", "character varying", True),
            Column("api_key_paid", "character varying(500)", True),
            Column("cookies", "json", True),
            Column("nickname", "character varying(100)", True),
            Column("provider_user_id", "character varying(100)", True),
            Column("provider_metadata", "json", True),
            Column("total_videos_generated", "integer", False),
            Column("total_videos_failed", "integer", False),
            Column("failure_streak", "integer", False),
            Column("status", "accountstatus", False),
            Column("last_error", "character varying", True),
            Column("last_used", "timestamp with time zone", True),
            Column("cooldown_until", "timestamp with time zone", True),
            Column("success_rate", "double precision", False),
            Column("avg_generation_time_sec", "double precision", True),
            Column("ema_generation_time_sec", "double precision", True),
            Column("ema_alpha", "double precision", False),
            Column("max_concurrent_jobs", "integer", False),
            Column("current_processing_jobs", "integer", False),
            Column("priority", "integer", False),
            Column("max_daily_videos", "integer", True),
            Column("videos_today", "integer", False),
            Column("created_at", "timestamp with time zone", False),
            Column("updated_at", "timestamp with time zone", False),
        ],
        indexes={
            "ix_provider_accounts_provider_id": "btree (provider_id)",
            "ix_provider_accounts_status": "btree (status)",
            "ix_provider_accounts_user_id": "btree (user_id)",
            "provider_accounts_pkey": "unique btree (id)",
            "uq_provider_account_email_provider_user": "unique btree (email, provider_id, user_id)",
        },
        constraints={
            "provider_accounts_user_id_fkey": "FOREIGN KEY (user_id) REFERENCES users(id)",
        },
    ),
    "provider_credits": Table(
        columns=[
            Column("id", "integer", False, "nextval('provider_credits_id_seq')"),
            Column("account_id", "integer", False),
            Column("credit_type", "character varying(50)", False),
            Column("amount", "integer", False),
            Column("updated_at", "timestamp with time zone", False),
            Column("created_at", "timestamp with time zone", False),
        ],
        indexes={
            "idx_account_credit_type": "unique btree (account_id, credit_type)",
            "idx_credit_type_amount": "btree (credit_type, amount)",
            "ix_provider_credits_account_id": "btree (account_id)",
            "ix_provider_credits_credit_type": "btree (credit_type)",
            "provider_credits_pkey": "unique btree (id)",
        },
        constraints={
            "provider_credits_account_id_fkey": "FOREIGN KEY (account_id) REFERENCES provider_accounts(id)",
        },
    ),
    "provider_submissions": Table(
        columns=[
            Column("id", "integer", False, "nextval('provider_submissions_id_seq')"),
            Column("job_id", "integer", False),
            Column("account_id", "integer", False),
            Column("provider_id", "character varying(50)", False),
            Column("payload", "json", True),
            Column("response", "json", True),
            Column("provider_job_id", "character varying(200)", True),
            Column("retry_attempt", "integer", False),
            Column("previous_submission_id", "integer", True),
            Column("submitted_at", "timestamp with time zone", False),
            Column("responded_at", "timestamp with time zone", True),
            Column("duration_ms", "integer", True),
            Column("status", "character varying(20)", False),
        ],
        indexes={
            "idx_submission_job_attempt": "btree (job_id, retry_attempt)",
            "idx_submission_provider_job": "btree (provider_id, provider_job_id)",
            "idx_submission_status_submitted": "btree (status, submitted_at)",
            "ix_provider_submissions_account_id": "btree (account_id)",
            "ix_provider_submissions_job_id": "btree (job_id)",
            "ix_provider_submissions_provider_id": "btree (provider_id)",
            "ix_provider_submissions_provider_job_id": "btree (provider_job_id)",
            "ix_provider_submissions_status": "btree (status)",
            "ix_provider_submissions_submitted_at": "btree (submitted_at)",
            "provider_submissions_pkey": "unique btree (id)",
        },
        constraints={
            "provider_submissions_account_id_fkey": "FOREIGN KEY (account_id) REFERENCES provider_accounts(id)",
            "provider_submissions_job_id_fkey": "FOREIGN KEY (job_id) REFERENCES jobs(id)",
            "provider_submissions_previous_submission_id_fkey": "FOREIGN KEY (previous_submission_id) REFERENCES provider_submissions(id)",
        },
    ),
    "workspaces": Table(
        columns=[
            Column("id", "integer", False, "nextval('workspaces_id_seq')"),
            Column("user_id", "integer", False),
            Column("name", "character varying(255)", False),
            Column("description", "character varying", True),
            Column("color", "character varying(7)", True),
            Column("icon", "character varying(50)", True),
            Column("parent_workspace_id", "integer", True),
            Column("tags", "json", True),
            Column("is_archived", "boolean", False),
            Column("is_template", "boolean", False),
            Column("is_public", "boolean", False),
            Column("total_jobs", "integer", False),
            Column("total_assets", "integer", False),
            Column("total_scenes", "integer", False),
            Column("settings", "json", True),
            Column("created_at", "timestamp with time zone", False),
            Column("updated_at", "timestamp with time zone", False),
            Column("last_activity_at", "timestamp with time zone", True),
        ],
        indexes={
            "ix_workspaces_is_archived": "btree (is_archived)",
            "ix_workspaces_parent_workspace_id": "btree (parent_workspace_id)",
            "ix_workspaces_user_id": "btree (user_id)",
            "workspaces_pkey": "unique btree (id)",
        },
        constraints={
            "workspaces_parent_workspace_id_fkey": "FOREIGN KEY (parent_workspace_id) REFERENCES workspaces(id)",
            "workspaces_user_id_fkey": "FOREIGN KEY (user_id) REFERENCES users(id)",
        },
    ),
    "jobs": Table(
        columns=[
            Column("id", "integer", False, "nextval('jobs_id_seq')"),
            Column("user_id", "integer", False),
            Column("operation_type", "operationtype", False),
            Column("provider_id", "character varying(50)", False),
            Column("params", "json", True),
            Column("workspace_id", "integer", True),
            Column("name", "character varying(255)", True),
            Column("description", "character varying", True),
            Column("priority", "integer", False),
            Column("scheduled_at", "timestamp with time zone", True),
            Column("parent_job_id", "integer", True),
            Column("status", "jobstatus", False),
            Column("error_message", "character varying", True),
            Column("retry_count", "integer", False),
            Column("asset_id", "integer", True),
            Column("created_at", "timestamp with time zone", False),
            Column("started_at", "timestamp with time zone", True),
            Column("completed_at", "timestamp with time zone", True),
        ],
        indexes={
            "idx_job_priority_created": "btree (priority, created_at)",
            "idx_job_status_created": "btree (status, created_at)",
            "idx_job_user_status_created": "btree (user_id, status, created_at)",
            "idx_job_workspace": "btree (workspace_id, created_at)",
            "ix_jobs_asset_id": "btree (asset_id)",
            "ix_jobs_created_at": "btree (created_at)",
            "ix_jobs_parent_job_id": "btree (parent_job_id)",
            "ix_jobs_priority": "btree (priority)",
            "ix_jobs_provider_id": "btree (provider_id)",
            "ix_jobs_scheduled_at": "btree (scheduled_at)",
            "ix_jobs_status": "btree (status)",
            "ix_jobs_user_id": "btree (user_id)",
            "ix_jobs_workspace_id": "btree (workspace_id)",
            "jobs_pkey": "unique btree (id)",
        },
        constraints={
            "jobs_asset_id_fkey": "FOREIGN KEY (asset_id) REFERENCES assets(id)",
            "jobs_parent_job_id_fkey": "FOREIGN KEY (parent_job_id) REFERENCES jobs(id)",
            "jobs_user_id_fkey": "FOREIGN KEY (user_id) REFERENCES users(id)",
            "jobs_workspace_id_fkey": "FOREIGN KEY (workspace_id) REFERENCES workspaces(id)",
        },
    ),
    "assets": Table(
        columns=[
            Column("id", "integer", False, "nextval('assets_id_seq')"),
            Column("user_id", "integer", False),
            Column("sha256", "character varying(64)", True),
            Column("media_type", "mediatype", False),
            Column("provider_id", "character varying(64)", False),
            Column("provider_asset_id", "character varying(128)", False),
            Column("provider_account_id", "integer", True),
            Column("provider_uploads", "json", True),
            Column("remote_url", "character varying", False),
            Column("thumbnail_url", "character varying", True),
            Column("local_path", "character varying(512)", True),
            Column("mime_type", "character varying(64)", True),
            Column("width", "integer", True),
            Column("height", "integer", True),
            Column("duration_sec", "double precision", True),
            Column("file_size_bytes", "integer", True),
            Column("fps", "double precision", True),
            Column("image_hash", "character varying(64)", True),
            Column("phash64", "bigint", True),
            Column("description", "character varying", True),
            Column("tags", "json", True),
            Column("style_tags", "json", True),
            Column("content_domain", "contentdomain", False),
            Column("content_category", "character varying(64)", True),
            Column("content_taxonomy", "json", True),
            Column("content_rating", "character varying(32)", False),
            Column("age_restricted", "boolean", False),
            Column("searchable", "boolean", False),
            Column("original_source_url", "character varying", True),
            Column("upload_method", "character varying(32)", True),
            Column("media_metadata", "json", True),
            Column("sync_status", "syncstatus", False),
            Column("source_job_id", "integer", True),
            Column("created_at", "timestamp with time zone", False),
            Column("downloaded_at", "timestamp with time zone", True),
            Column("last_accessed_at", "timestamp with time zone", False),
        ],
        indexes={
            "assets_pkey": "unique btree (id)",
            "idx_asset_provider_lookup": "btree (provider_id, provider_asset_id)",
            "idx_asset_sync_media": "btree (sync_status, media_type)",
            "idx_asset_user_created": "btree (user_id, created_at)",
            "ix_assets_age_restricted": "btree (age_restricted)",
            "ix_assets_content_category": "btree (content_category)",
            "ix_assets_content_domain": "btree (content_domain)",
            "ix_assets_content_rating": "btree (content_rating)",
            "ix_assets_created_at": "btree (created_at)",
            "ix_assets_image_hash": "btree (image_hash)",
            "ix_assets_last_accessed_at": "btree (last_accessed_at)",
            "ix_assets_phash64": "btree (phash64)",
            "ix_assets_provider_account_id": "btree (provider_account_id)",
            "ix_assets_provider_asset_id": "btree (provider_asset_id)",
            "ix_assets_provider_id": "btree (provider_id)",
            "ix_assets_searchable": "btree (searchable)",
            "ix_assets_sha256": "unique btree (sha256)",
            "ix_assets_source_job_id": "btree (source_job_id)",
            "ix_assets_sync_status": "btree (sync_status)",
            "ix_assets_user_id": "btree (user_id)",
        },
        constraints={
            "assets_provider_account_id_fkey": "FOREIGN KEY (provider_account_id) REFERENCES provider_accounts(id)",
            "assets_source_job_id_fkey": "FOREIGN KEY (source_job_id) REFERENCES jobs(id)",
            "assets_user_id_fkey": "FOREIGN KEY (user_id) REFERENCES users(id)",
        },
    ),
}

TABLES = {"users": USERS, **GENERATION_TABLES}
"""As the models made them at the last revision."""
UNIQUE_CONSTRAINTS = {"uq_provider_account_email_provider_user"}

PARAMS = Column("params", "json", False, "'{}'::json")
ACCOUNT = Column("account_id", "integer", False)
AVERAGES = (
    Column("ema_generation_time_sec", "double precision", True),
    Column("ema_alpha", "double precision", False, "0.3"),
)


def tables_at(revision: str | None, shape: str) -> dict[str, Table]:
    """The tables of one state."""
    tables = dict(TABLES)
    if shape == "migrated" or revision == REVISIONS[0]:
        jobs = tables["jobs"] = without(tables["jobs"], "params")
        submissions = without(tables["provider_submissions"], "account_id")
        tables["provider_submissions"] = submissions
        if revision != REVISIONS[0]:
            tables["jobs"] = with_columns(jobs, PARAMS)
            tables["provider_submissions"] = with_columns(
                submissions,
                ACCOUNT,
                indexes={"ix_provider_submissions_account_id": "btree (account_id)"},
                constraints={
                    "fk_provider_submissions_account_id": "FOREIGN KEY (account_id) REFERENCES provider_accounts(id)",
                },
            )
    if shape == "migrated" or revision in REVISIONS[:2]:
        accounts = without(tables["provider_accounts"], *(column.name for column in AVERAGES))
        if revision not in REVISIONS[:2]:
            accounts = with_columns(accounts, *AVERAGES)
        tables["provider_accounts"] = accounts
    return tables
