"""One settings file, driven by the environment. Out of the box: SQLite under var/, debug on, local addresses only.

Production sets at least DEBUG=0, SECRET_KEY, RETL_ENCRYPTION_KEYS, ALLOWED_HOSTS and DATABASE_URL; see docs/operations.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from retl_project import api_enums
from syncs.rest.headings import tags

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
if (BASE_DIR / ".env").is_file():
    environ.Env.read_env(BASE_DIR / ".env")

VAR_DIR = Path(env.str("REDRIVE_VAR", default=str(BASE_DIR / "var")))
VAR_DIR.mkdir(parents=True, exist_ok=True)

DEBUG = env.bool("DEBUG", default=True)
_LOCAL_SECRET_KEY = "local-only-" + "x" * 50
_LOCAL_ENCRYPTION_KEY = "bG9jYWwtb25seS1rZXktbmV2ZXItaW4tcHJvZHVjdCE="  # "local-only-key-never-in-product!"
SECRET_KEY = env.str("SECRET_KEY", default=_LOCAL_SECRET_KEY)
ENCRYPTION_KEYS = env.list("RETL_ENCRYPTION_KEYS", default=[_LOCAL_ENCRYPTION_KEY])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# It prints a key and reads nothing: it must work before there is one.
_IS_MAKING_A_KEY = [Path(sys.argv[0]).name, *sys.argv[1:]] == ["manage.py", "make_key"]

if DEBUG:
    if any(host not in ("localhost", "127.0.0.1", "[::1]", "testserver") for host in ALLOWED_HOSTS):
        raise ImproperlyConfigured("DEBUG is on, but ALLOWED_HOSTS names a host that is not local. Set DEBUG=0.")
elif not _IS_MAKING_A_KEY:
    if SECRET_KEY == _LOCAL_SECRET_KEY:
        raise ImproperlyConfigured("SECRET_KEY is not set. Outside debug, set it to a long random text of your own.")
    if _LOCAL_ENCRYPTION_KEY in ENCRYPTION_KEYS:
        raise ImproperlyConfigured(
            "RETL_ENCRYPTION_KEYS is not set, or holds the local key. Make one with: python manage.py make_key"
        )

INSTALLED_APPS = [
    "retl_project.apps.RetlProjectConfig",
    "monitoring",
    "dlq",
    "syncs",
    "retl_project.apps.RetlAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_q",
    "django_filters",
    "import_export",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "retl_project.middleware.MachineDoors",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

ROOT_URLCONF = "retl_project.urls"
WSGI_APPLICATION = "retl_project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
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

# --- Database. SQLite: one machine, trial and small use. PostgreSQL: production. The psycopg pool is never used: its
# connections would be shared across the forks of the worker processes.
DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'redrive.sqlite3'}")
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["TEST"] = {"NAME": str(VAR_DIR / "test.sqlite3")}
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": (
            "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA cache_size=-32000;PRAGMA temp_store=MEMORY;"
        ),
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = ["retl_project.auth_backend.OneQueryBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
DATETIME_FORMAT = "j M Y H:i:s"

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# --- Security. Strict content policy: no inline script or style anywhere in the product.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
# Probes and Prometheus call a process directly, without TLS.
SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$", r"^metrics$"]
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000  # a mapping of a thousand lines has nine fields each
SESSION_COOKIE_AGE = 8 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
if not DEBUG:
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=True)
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_TLS_PROXY", default=False) else None
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SESSION_COOKIE_NAME = "__Host-redrive_session"
    CSRF_COOKIE_NAME = "__Host-redrive_csrf"

# --- django-q2 is the doorbell, not the brain: it wakes workers; what is true stands in our tables. Its own timeout and
# retry stand far above any run, because the lease is the real timeout.
_DAY = 86_400
Q_CLUSTER = {
    "name": "redrive",
    "label": "Background jobs",
    "orm": "default",
    "workers": env.int("REDRIVE_WORKERS", default=2),
    "queue_limit": 1,
    "bulk": 1,
    "poll": 0.5,
    "timeout": 7 * _DAY,
    "retry": 8 * _DAY,
    "ack_failures": True,
    "max_attempts": 1,
    "save_limit": -1,
    "catch_up": False,
    "guard_cycle": 0.5,
    "recycle": 100,
    "max_rss": None,
    "ALT_CLUSTERS": {"fast": {"workers": 2, "timeout": _DAY, "retry": 2 * _DAY, "scheduler": False}},
}

IMPORT_EXPORT_EXPORT_PERMISSION_CODE = "export"
IMPORT_EXPORT_IMPORT_PERMISSION_CODE = "import"
IMPORT_EXPORT_CHUNK_SIZE = 2000

# --- The API (docs/api.md). Closed unless an operation says who may call it; JSON in, JSON out.
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["syncs.rest.callers.KeyAuthentication", "syncs.rest.callers.BrowserSession"],
    "DEFAULT_PERMISSION_CLASSES": ["syncs.rest.rights.Declared"],
    "DEFAULT_PARSER_CLASSES": ["syncs.rest.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "syncs.rest.parsing.AnyNegotiation",
    "DEFAULT_SCHEMA_CLASS": "syncs.rest.schema.ResourceSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "syncs.rest.problems.handled",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Redrive",
    "DESCRIPTION": "Run syncs, follow runs, and work off dead letters, with the same rules as a person in the console.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": api_enums.names(),
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "syncs.rest.schema.strict_requests",
        "syncs.rest.document.whole",
    ],
    "SERVERS": [{"url": "/", "description": "This installation"}],
    "TAGS": tags(),
    "SERVE_PUBLIC": True,
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# --- Mail: one address for all, for example smtp+tls://user:password@mail.example.com:587. Without it, mails go to the log.
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="redrive@localhost")
EMAIL_TIMEOUT = 20

# --- Redrive's own knobs.
_MASKED_FIELDS = [
    *("email", "e mail", "mail address", "phone", "telephone", "mobile", "cell", "fax", "whatsapp"),
    *("first name", "last name", "middle name", "full name", "given name", "family name", "maiden name", "surname"),
    *("name first", "name last", "name given", "name family", "contact name", "fname", "lname"),
    *("address", "street", "zip", "postal code", "postcode", "birth", "dob", "passport", "ssn", "social security"),
    *("iban", "bic", "account number", "card", "cvv", "cvc", "tax id", "national id", "ip"),
    *("token", "password", "passwd", "secret", "api key", "access key", "private key"),
]
_PURGE_HOUR = env.str("RETL_PURGE_HOUR", default="3").strip()
if _PURGE_HOUR not in ("", *map(str, range(24))):
    raise ImproperlyConfigured(f"RETL_PURGE_HOUR is “{_PURGE_HOUR}”. Write an hour from 0 to 23 (UTC), or leave it empty.")
RETL: dict[str, Any] = {
    "ENCRYPTION_KEYS": ENCRYPTION_KEYS,
    "REJECTED_ROW_SINK": "dlq.sink.DLQSink",
    "REPROCESS_SELECTION": "dlq.sink.EntrySelection",
    "PAGE_MASK": "dlq.services.page_mask.PageMask",
    # Destinations in private address ranges are refused unless an operator lists the range here (CIDR, comma separated).
    "ALLOWED_PRIVATE_NETWORKS": tuple(
        env.list("RETL_ALLOWED_PRIVATE_NETWORKS", default=["127.0.0.0/8", "::1/128"] if DEBUG else [])
    ),
    # Days before the known end of a connection's credential from which its page and its syncs' status warn.
    "CREDENTIAL_WARNING_DAYS": env.int("RETL_CREDENTIAL_WARNING_DAYS", default=14),
    # A folder of TOML files that are offered beside the product's presets of the kind http; empty: none.
    "PRESET_FOLDER": env.str("RETL_PRESET_FOLDER", default=""),
    # Where people reach the console: the beginning of links in mails and messages.
    "BASE_URL": env.str("RETL_BASE_URL", default="http://127.0.0.1:8000").rstrip("/"),
    # For other tools (docs/observability.md): who may read /metrics and the feeds; several tokens while one is exchanged.
    "METRICS_TOKENS": tuple(env.list("RETL_METRICS_TOKENS", default=[])),
    "METRICS_NETWORKS": tuple(env.list("RETL_METRICS_NETWORKS", default=["127.0.0.0/8", "::1/128"] if DEBUG else [])),
    "FEED_TOKENS": tuple(env.list("RETL_FEED_TOKENS", default=[])),
    # No tick for so long: no worker lives. A run at the head of a queue for so long, and nobody works: the queue is stuck.
    "WORKER_SILENCE_SECONDS": env.int("RETL_WORKER_SILENCE_SECONDS", default=120),
    "QUEUE_WAIT_SECONDS": env.int("RETL_QUEUE_WAIT_SECONDS", default=600),
    # Requests a minute of each API key, each person and, without either, each address.
    "API_REQUESTS_PER_MINUTE": env.int("RETL_API_REQUESTS_PER_MINUTE", default=600),
    "LEASE_SECONDS": env.int("RETL_LEASE_SECONDS", default=30),
    "MAX_CRASHES": 3,
    "ATTEMPTS_KEPT_PER_STEP": 20,
    "SHORT_RUN_ROWS": 200,
    # Bulk operations: rows of each wave of a reprocess, the last size repeats; and how long a discard can be undone as a whole.
    "WAVE_SIZES": (1, 10, 100, 1_000, 10_000),
    "UNDO_DAYS": 7,
    # Confirming one: above so many dead letters their number must be typed, and a reprocess needs a reason too.
    "TYPED_COUNT_ABOVE": 1_000,
    "REASON_ABOVE": 500,
    # Exports: files of dead letters. Where web and worker processes run on several machines, they must share the folder.
    "EXPORT_DIR": env.str("RETL_EXPORT_DIR", default=str(VAR_DIR / "exports")),
    "EXPORT_DAYS": env.int("RETL_EXPORT_DAYS", default=7),
    # Hour of the day (UTC) from which what is older than the retention rules say is deleted; empty: only when somebody asks.
    "PURGE_HOUR": int(_PURGE_HOUR) if _PURGE_HOUR else None,
    "EXPORT_STREAM_ROWS": 10_000,  # up to so many are downloaded at once; more are written in the background
    # Words in names of fields whose values are masked: on pages, in exports and evidence bundles; docs/roles.md says how pages
    # show them. MASK_PAGES False: pages show all values to everybody who sees dead letters.
    "MASK_PAGES": env.bool("RETL_MASK_PAGES", default=True),
    "REVEALS_PER_HOUR": env.int("RETL_REVEALS_PER_HOUR", default=50),  # dead letters whose true values one person may look at
    "MASKED_FIELDS": tuple(env.list("RETL_MASKED_FIELDS", default=_MASKED_FIELDS)),
}

LOG_FORMAT = env.str("LOG_FORMAT", default="line")
if LOG_FORMAT not in ("line", "json"):
    raise ImproperlyConfigured(f"LOG_FORMAT is “{LOG_FORMAT}”. It can be line (for people) or json (one object per line).")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "retl_project.logs.LineFormatter",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        },
        "json": {"()": "retl_project.logs.JsonLines"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    # Django's own handlers would write a second line beside ours, not redacted; with JSON those of runserver's requests too.
    "loggers": {
        "django": {"handlers": []},
        **({"django.server": {"handlers": [], "propagate": True}} if LOG_FORMAT == "json" else {}),
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
}
