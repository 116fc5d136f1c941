"""Loaded by pytest before Django: chooses the application's database. REDRIVE_TEST_DB=sqlite (default) or postgresql."""

import os
import tempfile

from tests import postgres

os.environ.pop("DATABASE_URL", None)
os.environ.setdefault("REDRIVE_VAR", tempfile.mkdtemp(prefix="redrive-test-"))
os.environ.setdefault("RETL_PURGE_HOUR", "")  # no purge begins by itself: tests count what a tick rings for
postgres.ensure()
if os.environ.get("REDRIVE_TEST_DB", "sqlite") == "postgresql":
    if not os.environ[postgres.ENV]:
        raise SystemExit("REDRIVE_TEST_DB=postgresql, but there is no PostgreSQL server to be had.")
    os.environ["DATABASE_URL"] = f"{os.environ[postgres.ENV]}/redrive"
