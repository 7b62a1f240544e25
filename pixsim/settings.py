"""Settings, read from the environment, then `.env`, then, in development only, embedded defaults.

Every variable is described in `.env.example`. Nothing is imported here that does not install on
Windows, and importing this module starts no service.
"""

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from pixsim.env import Env
from pixsim.environment import embedded_defaults, kept_secret, load_env_file, require
from pixsim.service_urls import broker_from_url, database_from_url

BASE_DIR = Path(__file__).resolve().parent.parent
# For `manage.py db status`: where the URL came from, and whether two places disagree.
DATABASE_URL_ORIGIN, DATABASE_URL_WARNING = load_env_file(
    Path(os.environ.get("PIXSIM_ENV_FILE") or BASE_DIR / ".env")
)
env = Env()

# While ALLOWED_HOSTS is empty, Django answers requests to this machine's own names only. So a site
# that others can reach never runs in debug mode because somebody forgot to turn it off.
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS")
DEBUG = env.flag("DEBUG", not ALLOWED_HOSTS)

# What this installation keeps on its own disk: development secrets, blobs, embedded services.
PIXSIM_HOME = Path(env.text("PIXSIM_HOME") or BASE_DIR / ".pixsim").resolve()

SECRET_KEY = env.secret("SECRET_KEY")
CREDENTIALS_KEYS = env.secrets("CREDENTIALS_KEYS")
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
    "pixsim.core.admin.links.ViewerMiddleware",
    "pixsim.web.zones.ZoneMiddleware",
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
            ],
            "libraries": {"links": "pixsim.core.admin.links"},
        },
    }
]

DATABASE_URL = env.text("DATABASE_URL")
CELERY_BROKER_URL = env.text("CELERY_BROKER_URL")
# The embedded services used because no URL names another one: "postgres", "redis".
EMBEDDED_SERVICES: list[str] = []
EMBEDDED_IDLE_SECONDS = env.number("EMBEDDED_IDLE_SECONDS", 60.0)
if DEBUG and not (DATABASE_URL and CELERY_BROKER_URL):
    DATABASE_URL, CELERY_BROKER_URL, EMBEDDED_SERVICES = embedded_defaults(
        PIXSIM_HOME, database_url=DATABASE_URL, broker_url=CELERY_BROKER_URL
    )
require("DATABASE_URL", DATABASE_URL, hint="It names the PostgreSQL database of the site.")
if "postgres" in EMBEDDED_SERVICES:
    DATABASE_URL_ORIGIN = "the embedded PostgreSQL of PIXSIM_HOME, since DATABASE_URL is not set"
CELERY_BROKER_URL = CELERY_BROKER_URL or "redis://127.0.0.1:6379/0"

# The same database past a connection pooler: for `migrate` and `db`, heartbeats and sweepers.
DATABASE_DIRECT_URL = env.text("DATABASE_DIRECT_URL")
if DATABASE_DIRECT_URL and "postgres" in EMBEDDED_SERVICES:
    raise ImproperlyConfigured("DATABASE_DIRECT_URL is set, and DATABASE_URL is not.")
DATABASE_DIRECT = (
    database_from_url(DATABASE_DIRECT_URL, setting="DATABASE_DIRECT_URL")
    if DATABASE_DIRECT_URL
    else None
)

# What libpq asks for as a connection begins, whatever ALTER DATABASE … SET says: dates are read from
# text, and Django would set the time zone with a statement of its own.
os.environ["PGDATESTYLE"] = "ISO, MDY"
os.environ["PGTZ"] = "UTC"
_database = database_from_url(DATABASE_URL)
if "postgres" in EMBEDDED_SERVICES:
    _database["ENGINE"] = "pixsim.embedded.backend"
DATABASES = {
    "default": {
        # Persistent connections do not fit ASGI, where each request may run in another thread.
        "CONN_MAX_AGE": env.integer("DATABASE_CONN_MAX_AGE", 0),
        "CONN_HEALTH_CHECKS": True,
        # Such a cursor outlives its transaction, and a pooler's session does not.
        "DISABLE_SERVER_SIDE_CURSORS": True,
        **_database,
    }
}
# `manage.py migrate` and `db upgrade`: how long and how often a statement waits for a lock, and how
# many rows a table may have for an operation that blocks it.
SCHEMA_LOCK_TIMEOUT_SECONDS = env.number("SCHEMA_LOCK_TIMEOUT_SECONDS", 2.0, least=0.001)
SCHEMA_LOCK_TRIES = env.integer("SCHEMA_LOCK_TRIES", 8, least=1)
SCHEMA_UNSAFE_ROWS = env.integer("SCHEMA_UNSAFE_ROWS", 100_000)
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"

CELERY_BROKER_CONNECTION_TIMEOUT = env.number("BROKER_TIMEOUT", 0.2, least=0.01, most=60)
CELERY_BROKER_URL, CELERY_BROKER_TRANSPORT_OPTIONS = broker_from_url(
    CELERY_BROKER_URL, timeout=CELERY_BROKER_CONNECTION_TIMEOUT
)
# Celery itself would read CELERY_BROKER_URL from the environment before it asks these settings.
CELERY_BROKER_READ_URL = CELERY_BROKER_WRITE_URL = CELERY_BROKER_URL
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

CSRF_TRUSTED_ORIGINS = env.items("CSRF_TRUSTED_ORIGINS")
SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT", not DEBUG)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.flag("SECURE_COOKIES", not DEBUG)
# One hour, so that a mistake with certificates has an end; raise it to a year when all works.
SECURE_HSTS_SECONDS = env.integer("SECURE_HSTS_SECONDS", 0 if DEBUG else 3600)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag("SECURE_HSTS_INCLUDE_SUBDOMAINS", True)
SECURE_HSTS_PRELOAD = env.flag("SECURE_HSTS_PRELOAD", True)
if env.flag("BEHIND_TLS_PROXY", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"

STATIC_URL = "static/"
STATIC_ROOT = Path(env.text("STATIC_ROOT") or BASE_DIR / "staticfiles")
_blob_url = urlsplit(env.text("PIXSIM_STORAGE_URL"))
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
            "endpoint_url": env.text("AWS_S3_ENDPOINT_URL") or None,
            # A blob's name is the hash of its bytes, so writing it again changes nothing.
            "file_overwrite": True,
        },
    }
    if _blob_url.scheme
    else {
        "BACKEND": "pixsim.core.blobs.local.BlobStorage",
        "OPTIONS": {
            "location": env.text("PIXSIM_BLOBS") or str(PIXSIM_HOME / "blobs"),
        },
    },
}
PIXSIM_BLOB_STORAGE = "blobs"

CRAWL_USER_AGENT = env.text(
    "CRAWL_USER_AGENT",
    default="PixSim/0.1 (+https://pixsim.example/crawler; crawler@pixsim.example)",
)
CRAWL_ALLOWED_PRIVATE = env.items("CRAWL_ALLOWED_PRIVATE")
CRAWL_ALLOWED_PORTS = env.integers("CRAWL_ALLOWED_PORTS", [80, 443], least=1, most=65535)
CRAWL_FOLDER_ROOTS = env.items("CRAWL_FOLDER_ROOTS", ["/"] if DEBUG else [])
CRAWL_HONOUR_ROBOTS = env.flag("CRAWL_HONOUR_ROBOTS", True)
CRAWL_MAX_BYTES = env.integer("CRAWL_MAX_BYTES", 20 * 1024**2, least=1)
CRAWL_MAX_PIXELS = env.integer("CRAWL_MAX_PIXELS", 50_000_000, least=1)
CRAWL_MIN_SIDE = env.integer("CRAWL_MIN_SIDE", 32, least=1)
CRAWL_MAX_ASPECT = env.number("CRAWL_MAX_ASPECT", 20.0, least=1)
CRAWL_NEAR_DUPLICATE_DISTANCE = env.integer(
    "CRAWL_NEAR_DUPLICATE_DISTANCE", 3, most=11
)  # as crawler.fetch.rules.MAX_DISTANCE
CRAWL_CONNECT_TIMEOUT = env.number("CRAWL_CONNECT_TIMEOUT", 10.0, least=0.1)
CRAWL_READ_TIMEOUT = env.number("CRAWL_READ_TIMEOUT", 15.0, least=0.1)
CRAWL_TOTAL_TIMEOUT = env.number("CRAWL_TOTAL_TIMEOUT", 60.0, least=0.1)
CRAWL_MIN_BYTES_PER_SECOND = env.integer("CRAWL_MIN_BYTES_PER_SECOND", 1000)
CRAWL_MAX_REDIRECTS = env.integer("CRAWL_MAX_REDIRECTS", 5)
CRAWL_IN_FLIGHT_BYTES = env.integer("CRAWL_IN_FLIGHT_BYTES", 128 * 1024**2, least=1)
CRAWL_HOST_CONCURRENCY = env.integer("CRAWL_HOST_CONCURRENCY", 4, least=1)
CRAWL_HOST_RATE = env.number("CRAWL_HOST_RATE", 10.0)
CRAWL_HOST_LIMITS = {
    "upload.wikimedia.org": {"concurrency": 2},
    **env.mapping("CRAWL_HOST_LIMITS"),
}

# Where a provider's API is, if not where the provider publishes it: {"openai": "https://…/v1"}.
PROVIDER_BASE_URLS = env.mapping("PROVIDER_BASE_URLS")

# Where providers reach this site, and the secret, or several, with which each signs its webhooks.
PUBLIC_URL = env.text("PUBLIC_URL").rstrip("/")
PROVIDER_WEBHOOK_SECRETS = env.mapping("PROVIDER_WEBHOOK_SECRETS", secret=True)

# Who may read /metrics from elsewhere; and the port on which a worker serves its own.
METRICS_TOKEN = env.secret("METRICS_TOKEN")
METRICS_PORT = env.integer("METRICS_PORT", 0, most=65535)

# Generations that `local` renders at once, on all machines together.
LOCAL_SLOTS = env.integer("LOCAL_SLOTS", 2, least=1)

# How `local` behaves, for load tests: delay_seconds, failure_rate, failures, later (docs/providers.md).
LOCAL_PROVIDER = env.mapping("LOCAL_PROVIDER")

QUEUE_LEASE_SECONDS = env.integer("QUEUE_LEASE_SECONDS", 30, least=1)
QUEUE_STALL_SECONDS = env.integer("QUEUE_STALL_SECONDS", 120, least=1)
# True: also through a pooler, which carries prepared statements. None: on connections of our own.
QUEUE_PREPARE = env.flag("QUEUE_PREPARE", None)
QUEUE_SLICE_SECONDS = env.integer("QUEUE_SLICE_SECONDS", 30, least=1)
QUEUE_ORDER = env.text("QUEUE_ORDER", "fair", choices=("fair", "fifo"))
# A failed item is tried again after about this time, and after twice as long each further time.
QUEUE_BACKOFF_SECONDS = env.number("QUEUE_BACKOFF_SECONDS", 2.0)
# The kinds of work a worker serves, in this order.
QUEUE_KINDS = [
    "jobs.generation.kind.GenerationKind",
    "crawler.work.DiscoveryKind",
    "crawler.work.ChunkKind",
]
TIERS = env.mapping("TIERS")

# In debug mode an error's page shows the settings; some are URLs with passwords.
DEFAULT_EXCEPTION_REPORTER_FILTER = "pixsim.error_pages.Filter"

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
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
            "formatter": env.text("LOG_FORMAT", "plain", choices=("plain", "json")),
        }
    },
    "root": {"handlers": ["stderr"], "level": env.text("LOG_LEVEL", "INFO", choices=LOG_LEVELS)},
    "loggers": {
        # Its own handlers would print each line a second time, and unredacted.
        "django": {"handlers": [], "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
    },
}
