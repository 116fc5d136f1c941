"""Values in braces, which paths and headers of the settings may hold: ``{key}``, ``{options.list}``, ``{job.id}``."""

from __future__ import annotations

import re

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
