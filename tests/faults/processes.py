"""Other processes on the test's own database."""

from __future__ import annotations

import os

from django.db import connection


def environment() -> dict[str, str]:
    """For a process that works on this test's database. The test must commit what it wants seen (``transaction=True``)."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{values['NAME']}"
    else:
        url = f"postgresql://{values['USER']}@{values['HOST']}:{values['PORT']}/{values['NAME']}"
    return {**os.environ, "DATABASE_URL": url, "PYTHONWARNINGS": "default", "LOG_LEVEL": "WARNING"}
