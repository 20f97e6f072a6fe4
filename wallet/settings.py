"""Settings: every value comes from the environment, every default is safe.

They contain no logic beyond reading. Money safety depends on the order of the time
limits; a system check (`wallets.checks`) and a test verify it.
"""

import logging
import warnings
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from wallet.brokers import broker_settings
from wallet.currency import DEFAULT_CURRENCY, THIRD_PARTY_CURRENCY  # noqa: F401
from wallet.databases import database_from_env
from wallet.environment import Env, address, count, endless, level, log_format
from wallet.extensions import *  # noqa: F403
from wallet.extensions import CONSOLE_ENABLED, EXTENSION_APPS, EXTENSION_TICKS
from wallet.logins import *  # noqa: F403
from wallet.logs import logging_config
from wallet.rest import REST_FRAMEWORK, SPECTACULAR_SETTINGS  # noqa: F401
from wallet.secret_key import SECRET_KEY_FALLBACKS, beside, made_key
from wallets.utils.messaging.beat import every

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()

# --- Django -------------------------------------------------------------------------

LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=LOOPBACK_HOSTS)
DATABASES = {"default": database_from_env(env, BASE_DIR)}
SECRET_KEY = env.str("SECRET_KEY", default="")
SECRET_KEY_IS_MADE = not SECRET_KEY
if SECRET_KEY_IS_MADE and set(ALLOWED_HOSTS) - set(LOOPBACK_HOSTS):
    raise ImproperlyConfigured(
        "ALLOWED_HOSTS names a host other than this machine, so set SECRET_KEY "
        "to a long random value of your own."
    )
if SECRET_KEY_IS_MADE:
    SECRET_KEY = made_key(
        env.str("SECRET_KEY_FILE", default=beside(DATABASES["default"], BASE_DIR))
    )

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "django_structlog",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "wallets",
    *EXTENSION_APPS,
]

MIDDLEWARE = [
    "wallets.views.http.request_log.log_requests",
    "wallets.views.http.middleware.without_body_for_head",
    "wallets.views.http.security.security_headers",
    "wallets.views.http.middleware.WithoutHostileInput",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "wallets.views.http.middleware.PageSessions",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "wallets.views.http.middleware.PageUsers",
    "wallets.views.http.middleware.PageMessages",
    "wallets.views.login.known_devices",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# GET /metrics for Prometheus; METRICS_TOKEN is its bearer token.
METRICS_ENABLED = env.bool("METRICS_ENABLED", default=False)
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
if METRICS_ENABLED:
    MIDDLEWARE.insert(0, "wallets.views.metrics.count_requests")

ROOT_URLCONF = "wallet.urls"
WSGI_APPLICATION = "wallet.wsgi.application"
# A redirect to the path with a slash would drop the body of a POST.
APPEND_SLASH = False

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
        },
    },
]

# W036, W037: MySQL and MariaDB have no partial constraints and indexes; `verify_ledger`
# checks, or a full index helps. W002, W006: `axes` refuses by its backend and counts by
# name, so it needs neither its middleware nor addresses.
SILENCED_SYSTEM_CHECKS = ["models.W036", "models.W037", "axes.W002", "axes.W006"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Leaves out slow tests. A name, because nothing else imports the tests.
TEST_RUNNER = "wallets.tests.runner.Runner"

# Threads of each process for Django's answers; exports hold at most four. Busy threads
# take turns with the event loop, so more of them make all other answers later.
WEB_THREADS = count("WEB_THREADS", 6)
# The number of our proxies that add to X-Forwarded-For.
PROXY_COUNT = env.int("PROXY_COUNT", default=0)

LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = ["wallet.formats"]

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# A fresh clone needs no collectstatic: static files are served from their sources.
WHITENOISE_USE_FINDERS = True
warnings.filterwarnings("ignore", message="No directory at", category=UserWarning)

# True only behind TLS: over plain HTTP logins would fail.
SECURE_COOKIES = env.bool("SECURE_COOKIES", default=False)
SESSION_COOKIE_SECURE = SECURE_COOKIES
CSRF_COOKIE_SECURE = SECURE_COOKIES
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = (
    "console.views.base.form_refused"
    if CONSOLE_ENABLED
    else "wallets.views.problems.from_exceptions.csrf_failure"
)
# An operator's working day.
SESSION_COOKIE_AGE = env.int("SESSION_COOKIE_AGE", default=36000)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=False)
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_SECONDS > 0
SECURE_HSTS_PRELOAD = SECURE_HSTS_SECONDS > 0
# Health checks and scrapers reach the process directly, over plain HTTP.
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
X_FRAME_OPTIONS = "DENY"

# --- API ----------------------------------------------------------------------------

# The OpenAPI document and its page.
API_DOCS_ENABLED = env.bool("API_DOCS_ENABLED", default=True)
# A request for one movement has a few dozen bytes.
API_MAX_BODY_BYTES = 16 * 1024
# Enough for a thousand deposits or transfers, written with spaces.
API_MAX_BULK_BODY_BYTES = 256 * 1024
# The longest input of a page is an operator's evidence.
PAGE_MAX_BODY_BYTES = 64 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = PAGE_MAX_BODY_BYTES
# No form accepts a file; none is written to a disk.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]

# --- Celery: wake-ups, not truth ----------------------------------------------------

CELERY_BROKER_URL = env("CELERY_BROKER_URL", address, "redis://localhost:6379/0")
CELERY_RESULT_BACKEND = env(
    "CELERY_RESULT_BACKEND", address, "redis://localhost:6379/0"
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_CONCURRENCY = env.int("CELERY_WORKER_CONCURRENCY", default=4)
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Our own queue name: another Celery project on the broker must not take our messages.
# The queues of other tasks than payouts have suffixes: wallet/brokers.py.
CELERY_TASK_DEFAULT_QUEUE = env.str("CELERY_TASK_DEFAULT_QUEUE", default="wallet")
globals().update(
    {
        f"CELERY_{name}": value
        for name, value in broker_settings(
            CELERY_BROKER_URL, CELERY_TASK_DEFAULT_QUEUE
        ).items()
    }
)
CELERY_BEAT_SCHEDULER = "wallets.utils.messaging.beat:PublishingScheduler"

# --- Withdrawals: all times in seconds ----------------------------------------------

# While this is set, no payment is sent to the bank: after restoring a backup, until
# `manage.py reconcile_bank` has compared the ledger with the bank's list. Look-ups go
# on.
WITHDRAWALS_PAUSED = env.bool("WITHDRAWALS_PAUSED", default=False)

# The intervals of Beat's ticks.
WITHDRAWAL_DUE_INTERVAL = env.float("WITHDRAWAL_DUE_INTERVAL", default=10)
WITHDRAWAL_RETRY_INTERVAL = env.float("WITHDRAWAL_RETRY_INTERVAL", default=60)
WITHDRAWAL_RESOLVE_INTERVAL = env.float("WITHDRAWAL_RESOLVE_INTERVAL", default=10)

# Retries after the first attempt, and the wait before each: base * 2**n, at most the
# cap, plus or minus the jitter (a fraction).
WITHDRAWAL_MAX_RETRIES = env.int("WITHDRAWAL_MAX_RETRIES", default=3)
WITHDRAWAL_RETRY_BASE = env.float("WITHDRAWAL_RETRY_BASE", default=30)
WITHDRAWAL_RETRY_CAP = env.float("WITHDRAWAL_RETRY_CAP", default=3600)
WITHDRAWAL_RETRY_JITTER = env.float("WITHDRAWAL_RETRY_JITTER", default=0.2)

# How far ahead a withdrawal may be scheduled.
WITHDRAWAL_MAX_HORIZON_DAYS = env.int("WITHDRAWAL_MAX_HORIZON_DAYS", default=3660)

# The most calls in flight in one worker process, and rows claimed in one transaction.
WITHDRAWAL_CONCURRENCY = env.int("WITHDRAWAL_CONCURRENCY", default=64)
WITHDRAWAL_BATCH_SIZE = env.int("WITHDRAWAL_BATCH_SIZE", default=64)
# The most wake-ups that one tick sends for a backlog.
WITHDRAWAL_MAX_WAKEUPS = env.int("WITHDRAWAL_MAX_WAKEUPS", default=4)
# How often a waiting drain looks for new due withdrawals.
WITHDRAWAL_POLL = env.float("WITHDRAWAL_POLL", default=1)

# How long, at least, a worker keeps the bank's answers while the database is away.
# Longer than a restart or a failover; its soft limit leaves time for it.
WITHDRAWAL_RECORDING_TIME = env.float("WITHDRAWAL_RECORDING_TIME", default=35)

# The bank's longest call < a task's soft limit < its hard limit < the lease of an
# attempt < the quiet period after which "not found" counts. A worker that is killed at
# its hard limit is dead before its lease ends; see Note [Quiet period] in
# wallets/services/payouts/belief.py.
THIRD_PARTY_CONNECT_TIMEOUT = env.float("THIRD_PARTY_CONNECT_TIMEOUT", default=2)
THIRD_PARTY_DEADLINE = env.float("THIRD_PARTY_DEADLINE", default=5)
WITHDRAWAL_SOFT_TIME_LIMIT = env.float("WITHDRAWAL_SOFT_TIME_LIMIT", default=60)
WITHDRAWAL_HARD_TIME_LIMIT = env.float("WITHDRAWAL_HARD_TIME_LIMIT", default=70)
WITHDRAWAL_LEASE = env.float("WITHDRAWAL_LEASE", default=80)
WITHDRAWAL_QUIET_PERIOD = env.float("WITHDRAWAL_QUIET_PERIOD", default=120)

# Look-ups of an unknown outcome: the first wait, doubled each time up to the cap; the
# time without an outcome after which an operator must review it (look-ups go on).
WITHDRAWAL_CHECK_BASE = env.float("WITHDRAWAL_CHECK_BASE", default=2)
WITHDRAWAL_CHECK_CAP = env.float("WITHDRAWAL_CHECK_CAP", default=900)
WITHDRAWAL_REVIEW_AFTER = env.float("WITHDRAWAL_REVIEW_AFTER", default=3600)
# One operator proposes "not paid", which gives money back, and another one confirms it.
REVIEW_TWO_PERSONS = env.bool("REVIEW_TWO_PERSONS", default=False)

# --- The bank's abilities: declared, never guessed -----------------------------------

THIRD_PARTY_BASE_URL = env("THIRD_PARTY_BASE_URL", address, "http://localhost:8010")
# The bank pays one reference at most once, and remembers it this long.
THIRD_PARTY_DEDUPES = env.bool("THIRD_PARTY_DEDUPES", default=False)
THIRD_PARTY_DEDUPE_WINDOW = env.float("THIRD_PARTY_DEDUPE_WINDOW", default=86400)
# The bank answers GET /payments/<reference>; the longest time until it shows a payment.
THIRD_PARTY_LOOKUP = env.bool("THIRD_PARTY_LOOKUP", default=False)
THIRD_PARTY_BOOKING_TIME = env.float("THIRD_PARTY_BOOKING_TIME", default=30)
# How long it shows a payment after its last request; "inf": for ever. After that "not
# found" proves nothing.
THIRD_PARTY_LOOKUP_WINDOW = env("THIRD_PARTY_LOOKUP_WINDOW", endless, 86400)
# The bank answers GET /payments with its payments: compared with the ledger once a day.
# Beat ticks more often, because a restart resets its schedule.
THIRD_PARTY_STATEMENT = env.bool("THIRD_PARTY_STATEMENT", default=False)
STATEMENT_CHECK_INTERVAL = 600

CELERY_TASK_SOFT_TIME_LIMIT = WITHDRAWAL_SOFT_TIME_LIMIT
CELERY_TASK_TIME_LIMIT = WITHDRAWAL_HARD_TIME_LIMIT
# No message expires: a worker would use its own clock. A late tick is harmless.
CELERY_BEAT_SCHEDULE = {
    name: {"task": f"wallets.tasks.{name}", "schedule": every(interval)}
    for name, interval in (
        ("process_pending_withdrawals", WITHDRAWAL_DUE_INTERVAL),
        ("retry_failed_withdrawals", WITHDRAWAL_RETRY_INTERVAL),
        ("resolve_unknown_withdrawals", WITHDRAWAL_RESOLVE_INTERVAL),
        *[("reconcile_bank", STATEMENT_CHECK_INTERVAL)] * THIRD_PARTY_STATEMENT,
    )
} | EXTENSION_TICKS

# --- Logs ---------------------------------------------------------------------------

# "json" for machines, "console" for people.
LOG_FORMAT = env("LOG_FORMAT", log_format, "json")
LOG_LEVEL = env("LOG_LEVEL", level, "INFO")
# Messages of exceptions may quote a client's input: only for debugging.
LOG_EXCEPTION_MESSAGES = env.bool("LOG_EXCEPTION_MESSAGES", default=False)
# The name of the process in each line: api, worker, beat.
SERVICE_NAME = env.str("SERVICE_NAME", default="wallet")
LOGGING = logging_config(
    level=LOG_LEVEL,
    as_json=LOG_FORMAT != "console",
    service=SERVICE_NAME,
    secrets=[
        *(SECRET_KEY, *SECRET_KEY_FALLBACKS),
        METRICS_TOKEN,
        str(DATABASES["default"].get("PASSWORD") or ""),
        urlsplit(CELERY_BROKER_URL).password or "",
        urlsplit(CELERY_RESULT_BACKEND).password or "",
    ],
    with_messages=LOG_EXCEPTION_MESSAGES,
)
DJANGO_STRUCTLOG_CELERY_ENABLED = True
DJANGO_STRUCTLOG_CELERY_TASK_START_LOG_LEVEL = logging.DEBUG
