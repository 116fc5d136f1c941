from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LINT, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_imports_keep_to_the_layers():
    found = lint(ROOT)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("syncs/records.py", "import dlq.models"),
        ("syncs/engine/plan.py", "import django.db"),
        ("syncs/engine/plan.py", "import syncs.models"),
        ("dlq/models/entry.py", "import dlq.services"),
    ],
)
def test_import_against_the_layers_is_found(tmp_path: Path, module: str, line: str):
    """The house with one wrong import in it, so that the test above is known to be able to fail."""
    for app in ("retl_project", "monitoring", "dlq", "syncs"):
        shutil.copytree(ROOT / app, tmp_path / app, ignore=shutil.ignore_patterns("__pycache__", "static", "templates"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / module).open("a") as file:
        file.write(f"\n{line}\n")
    found = lint(tmp_path)
    assert found.returncode == 1
    assert line.removeprefix("import ").split(".")[0] in found.stdout
