"""Addresses below /api/v1/ and what answers there."""

from __future__ import annotations

from syncs.api.audit import Audit
from syncs.api.calls import Calls
from syncs.api.chains import Chains
from syncs.api.configuration import Configuration
from syncs.api.connection_kinds import ConnectionKinds, ConnectionPresets
from syncs.api.connections import Connections
from syncs.api.drift import Drift
from syncs.api.error_rules import ErrorRules
from syncs.api.keys import Keys
from syncs.api.me import Me
from syncs.api.run_steps import Log, Steps
from syncs.api.runs import Runs, SyncRuns
from syncs.api.schemas import Schemas
from syncs.api.service_accounts import ServiceAccounts
from syncs.api.sync_versions import SyncVersions
from syncs.api.syncs import Syncs
from syncs.api.tags import Tags
from syncs.api.teams import Teams
from syncs.api.trials import Trials
from syncs.api.triggers import Triggers
from syncs.rest.resources import ID, Resource

RESOURCES: list[tuple[str, type[Resource]]] = [
    ("tags", Tags),
    ("syncs", Syncs),
    (f"syncs/(?P<sync_id>{ID})/versions", SyncVersions),
    ("configuration", Configuration),
    ("connections", Connections),
    ("connection-kinds", ConnectionKinds),
    ("connection-presets", ConnectionPresets),
    (f"connections/(?P<connection_id>{ID})/try", Trials),
    (f"connections/(?P<connection_id>{ID})", Schemas),
    (f"syncs/(?P<sync_id>{ID})/drift", Drift),
    ("error-rules", ErrorRules),
    ("me", Me),
    ("keys", Keys),
    ("service-accounts", ServiceAccounts),
    ("teams", Teams),
    ("audit", Audit),
    ("runs", Runs),
    (f"runs/(?P<run_id>{ID})/steps", Steps),
    (f"runs/(?P<run_id>{ID})/log", Log),
    (f"syncs/(?P<sync_id>{ID})/runs", SyncRuns),
    ("triggers/(?P<public_id>[A-Za-z0-9_]{1,32})", Calls),
    (f"syncs/(?P<sync_id>{ID})/triggers", Triggers),
    (f"syncs/(?P<sync_id>{ID})/chains", Chains),
]
