"""Settings, read from the environment, then `.env`, then, in development only, embedded defaults.

Every variable is described in `.env.example`. Nothing is imported here that does not install on
Windows, and importing this module starts no service.
"""

import json
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from pixsim.environment import (
    Env,
    broker_options,
    database_from_url,
    embedded_defaults,
    kept_secret,
    load_env_file,
    require,
)

BASE_DIR = Path(__file__).resolve().parent.parent
# For `manage.py db status`: where the URL came from, and whether two places disagree.
DATABASE_URL_ORIGIN, DATABASE_URL_WARNING = load_env_file(
    Path(os.environ.get("PIXSIM_ENV_FILE") or BASE_DIR / ".env")
)
env = Env()

# While ALLOWED_HOSTS is empty, Django answers requests to this machine's own names only. So a site
# that others can reach never runs in debug mode because somebody forgot to turn it off.
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[])
DEBUG = env.bool("DEBUG", default=not ALLOWED_HOSTS)

# What this installation keeps on its own disk: development secrets, blobs, embedded services.
PIXSIM_HOME = Path(env.str("PIXSIM_HOME", default="") or BASE_DIR / ".pixsim").resolve()

SECRET_KEY = env.secret("SECRET_KEY")
CREDENTIALS_KEYS = env.secret("CREDENTIALS_KEYS", cast=list, default=[])
if DEBUG:
    SECRET_KEY = SECRET_KEY or kept_secret(PIXSIM_HOME / "secret_key", secrets.token_urlsafe(50))
    CREDENTIALS_KEYS = CREDENTIALS_KEYS or [
        kept_secret(PIXSIM_HOME / "credentials_keys", Fernet.generate_key().decode())
    ]
else:
    require("ALLOWED_HOSTS", ALLOWED_HOSTS, hint="It names the hosts of the site, by commas.")
    require("SECRET_KEY", SECRET_KEY, hint="It signs sessions: 50 random characters or more.")
    require(
        "CREDENTIALS_KEYS",
        CREDENTIALS_KEYS,
        hint="It encrypts provider credentials: Fernet keys by commas, the newest first.",
    )

INSTALLED_APPS = [
    "accounts",
    "providers",
    "jobs",
    "crawler",
    "pixsim",
    "pixsim.adoption",
    "pixsim.schema",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "csp.middleware.CSPMiddleware",
    "pixsim.probes.ProbesMiddleware",
    "pixsim.web.bad_values.BadValuesMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "pixsim.looking.LookingMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if not DEBUG:
    after = MIDDLEWARE.index("django.middleware.security.SecurityMiddleware") + 1
    MIDDLEWARE.insert(after, "whitenoise.middleware.WhiteNoiseMiddleware")
ROOT_URLCONF = "pixsim.urls"
ASGI_APPLICATION = "pixsim.asgi.application"
WSGI_APPLICATION = "pixsim.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASE_URL = env.str("DATABASE_URL", default="")
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="")
# The embedded services used because no URL names another one: "postgres", "redis".
EMBEDDED_SERVICES: list[str] = []
EMBEDDED_IDLE_SECONDS = env.float("EMBEDDED_IDLE_SECONDS", default=60.0)
if DEBUG and not (DATABASE_URL and CELERY_BROKER_URL):
    DATABASE_URL, CELERY_BROKER_URL, EMBEDDED_SERVICES = embedded_defaults(
        PIXSIM_HOME, database_url=DATABASE_URL, broker_url=CELERY_BROKER_URL
    )
require("DATABASE_URL", DATABASE_URL, hint="It names the PostgreSQL database of the site.")
if "postgres" in EMBEDDED_SERVICES:
    DATABASE_URL_ORIGIN = "the embedded PostgreSQL of PIXSIM_HOME, since DATABASE_URL is not set"
CELERY_BROKER_URL = CELERY_BROKER_URL or "redis://127.0.0.1:6379/0"

_database = database_from_url(DATABASE_URL)
# A socket's folder as in postgres://user@/name?host=/folder.
_database["HOST"] = _database.get("OPTIONS", {}).pop("host", "") or _database["HOST"]
if "postgres" in EMBEDDED_SERVICES:
    _database["ENGINE"] = "pixsim.embedded.backend"
DATABASES = {
    "default": {
        # Persistent connections do not fit ASGI, where each request may run in another thread.
        "CONN_MAX_AGE": env.int("DATABASE_CONN_MAX_AGE", default=0),
        "CONN_HEALTH_CHECKS": True,
        **_database,
        "OPTIONS": {
            "application_name": "pixsim",
            "connect_timeout": 10,
            # Locks of a process that is frozen or cut off are freed after this time.
            "options": "-c idle_in_transaction_session_timeout=120s -c tcp_keepalives_idle=30"
            " -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3",
            **_database.get("OPTIONS", {}),
        },
    }
}
# `manage.py migrate` and `db upgrade`: how long and how often a statement waits for a lock, and how
# many rows a table may have for an operation that blocks it.
SCHEMA_LOCK_TIMEOUT_SECONDS = env.float("SCHEMA_LOCK_TIMEOUT_SECONDS", default=2.0)
SCHEMA_LOCK_TRIES = env.int("SCHEMA_LOCK_TRIES", default=8)
SCHEMA_UNSAFE_ROWS = env.int("SCHEMA_UNSAFE_ROWS", default=100_000)
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"

CELERY_BROKER_CONNECTION_TIMEOUT = env.float("BROKER_TIMEOUT", default=0.2)
CELERY_BROKER_TRANSPORT_OPTIONS = broker_options(
    CELERY_BROKER_URL, timeout=CELERY_BROKER_CONNECTION_TIMEOUT
)
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A message only notifies workers; if it cannot be sent, the sweeper finds the work within a second.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
# Nothing that a message says may run code.
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_CONSUMER = "jobs.queue.worker.consumer:Consumer"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Its message is acknowledged before a task runs, so no task ends with the connection. Else Celery warns.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_ENABLE_PREFETCH_COUNT_REDUCTION = False

AUTH_USER_MODEL = "auth.User"
# The first makes all new hashes. A hash of another one is replaced when its user logs in.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "accounts.hashers.LegacyBcryptHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"

# Every page runs scripts and styles from our own files only, and nobody may frame it.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=not DEBUG)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("SECURE_COOKIES", default=not DEBUG)
# One hour, so that a mistake with certificates has an end; raise it to a year when all works.
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=0 if DEBUG else 3600)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=True)
SECURE_HSTS_PRELOAD = env.bool("SECURE_HSTS_PRELOAD", default=True)
if env.bool("BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"

STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default="") or BASE_DIR / "staticfiles")
_blob_url = urlsplit(env.str("PIXSIM_STORAGE_URL", default=""))
if _blob_url.scheme not in ("", "s3"):
    raise ImproperlyConfigured("PIXSIM_STORAGE_URL must look like s3://bucket/prefix")
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(PIXSIM_HOME / "media")},
    },
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage",
    },
    "blobs": {
        "BACKEND": "pixsim.core.blobs.s3.S3BlobStorage",
        "OPTIONS": {
            "bucket_name": _blob_url.netloc,
            "location": _blob_url.path.strip("/"),
            "endpoint_url": env.str("AWS_S3_ENDPOINT_URL", default="") or None,
            # A blob's name is the hash of its bytes, so writing it again changes nothing.
            "file_overwrite": True,
        },
    }
    if _blob_url.scheme
    else {
        "BACKEND": "pixsim.core.blobs.local.BlobStorage",
        "OPTIONS": {
            "location": env.str("PIXSIM_BLOBS", default="") or str(PIXSIM_HOME / "blobs"),
        },
    },
}
PIXSIM_BLOB_STORAGE = "blobs"

CRAWL_USER_AGENT = env.str(
    "CRAWL_USER_AGENT",
    default="PixSim/0.1 (+https://pixsim.example/crawler; crawler@pixsim.example)",
)
CRAWL_ALLOWED_PRIVATE = env.list("CRAWL_ALLOWED_PRIVATE", default=[])
CRAWL_ALLOWED_PORTS = env.list("CRAWL_ALLOWED_PORTS", cast=int, default=[80, 443])
CRAWL_FOLDER_ROOTS = env.list("CRAWL_FOLDER_ROOTS", default=["/"] if DEBUG else [])
CRAWL_HONOUR_ROBOTS = env.bool("CRAWL_HONOUR_ROBOTS", default=True)
CRAWL_MAX_BYTES = env.int("CRAWL_MAX_BYTES", default=20 * 1024**2)
CRAWL_MAX_PIXELS = env.int("CRAWL_MAX_PIXELS", default=50_000_000)
CRAWL_MIN_SIDE = env.int("CRAWL_MIN_SIDE", default=32)
CRAWL_MAX_ASPECT = env.float("CRAWL_MAX_ASPECT", default=20.0)
CRAWL_NEAR_DUPLICATE_DISTANCE = env.int("CRAWL_NEAR_DUPLICATE_DISTANCE", default=3)
CRAWL_CONNECT_TIMEOUT = env.float("CRAWL_CONNECT_TIMEOUT", default=10.0)
CRAWL_READ_TIMEOUT = env.float("CRAWL_READ_TIMEOUT", default=15.0)
CRAWL_TOTAL_TIMEOUT = env.float("CRAWL_TOTAL_TIMEOUT", default=60.0)
CRAWL_MIN_BYTES_PER_SECOND = env.int("CRAWL_MIN_BYTES_PER_SECOND", default=1000)
CRAWL_MAX_REDIRECTS = env.int("CRAWL_MAX_REDIRECTS", default=5)
CRAWL_IN_FLIGHT_BYTES = env.int("CRAWL_IN_FLIGHT_BYTES", default=128 * 1024**2)
CRAWL_HOST_CONCURRENCY = env.int("CRAWL_HOST_CONCURRENCY", default=4)
CRAWL_HOST_RATE = env.float("CRAWL_HOST_RATE", default=10.0)
CRAWL_HOST_LIMITS = {
    "upload.wikimedia.org": {"concurrency": 2},
    **env.json("CRAWL_HOST_LIMITS", default={}),
}

# Where a provider's API is, if not where the provider publishes it: {"openai": "https://…/v1"}.
PROVIDER_BASE_URLS = env.json("PROVIDER_BASE_URLS", default={})

# Where providers reach this site, and the secret, or several, with which each signs its webhooks.
PUBLIC_URL = env.str("PUBLIC_URL", default="").rstrip("/")
PROVIDER_WEBHOOK_SECRETS = env.secret("PROVIDER_WEBHOOK_SECRETS", cast=json.loads, default={})

# Who may read /metrics from elsewhere; and the port on which a worker serves its own.
METRICS_TOKEN = env.secret("METRICS_TOKEN")
METRICS_PORT = env.int("METRICS_PORT", default=0)

# Generations that `local` renders at once, on all machines together.
LOCAL_SLOTS = env.int("LOCAL_SLOTS", default=2)

# How `local` behaves, for load tests: delay_seconds, failure_rate, failures, later (docs/providers.md).
LOCAL_PROVIDER = env.json("LOCAL_PROVIDER", default={})

QUEUE_LEASE_SECONDS = env.int("QUEUE_LEASE_SECONDS", default=30)
QUEUE_STALL_SECONDS = env.int("QUEUE_STALL_SECONDS", default=120)
# Turn it off behind a connection pooler that cannot keep prepared statements.
QUEUE_PREPARE = env.bool("QUEUE_PREPARE", default=True)
QUEUE_SLICE_SECONDS = env.int("QUEUE_SLICE_SECONDS", default=30)
QUEUE_ORDER = env.str("QUEUE_ORDER", default="fair")
if QUEUE_ORDER not in ("fair", "fifo"):
    raise ImproperlyConfigured("QUEUE_ORDER must be fair or fifo")
# A failed item is tried again after about this time, and after twice as long each further time.
QUEUE_BACKOFF_SECONDS = env.float("QUEUE_BACKOFF_SECONDS", default=2.0)
# The kinds of work a worker serves, in this order.
QUEUE_KINDS = [
    "jobs.generation.kind.GenerationKind",
    "crawler.work.DiscoveryKind",
    "crawler.work.ChunkKind",
]
TIERS = env.json("TIERS", default={})

# In debug mode an error's page shows the settings; some are URLs with passwords.
DEFAULT_EXCEPTION_REPORTER_FILTER = "pixsim.error_pages.Filter"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "()": "pixsim.logs.RedactingFormatter",
            "format": "{asctime} {levelname:7} {name}: {message}",
            "style": "{",
        },
        "json": {"()": "pixsim.logs.JsonFormatter"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": env.str("LOG_FORMAT", default="plain"),
        }
    },
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO").upper()},
    "loggers": {
        # Its own handlers would print each line a second time, and unredacted.
        "django": {"handlers": [], "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
    },
}
