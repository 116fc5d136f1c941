"""Loaded by schemathesis: our YAML files hold several documents, which it cannot read by itself."""

from __future__ import annotations

from typing import Any

import schemathesis
import yaml
from schemathesis.core.media_types import YAML_MEDIA_TYPES


@schemathesis.deserializer(*YAML_MEDIA_TYPES)
def several_documents(_context: Any, response: Any) -> Any:
    return list(yaml.safe_load_all(response.content.decode()))
