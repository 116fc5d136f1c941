"""Rules of the house that no linter knows: folders, templates, start-up outside debug."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = ("retl_project", "syncs", "dlq", "monitoring")
TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))
# A file of its own, read far from any server: it carries its style, and a policy that allows nothing else.
CARRIED = ROOT / "templates" / "dlq" / "evidence" / "summary.html"
MAIL = ROOT / "templates" / "notifications" / "email.html"  # readers of mail know style attributes only
PAGES = sorted(path for path in (ROOT / "templates").rglob("*.html") if path not in (CARRIED, MAIL)) + [
    path for app in APPS for path in sorted((ROOT / app).rglob("templates/**/*.html"))
]
SECRETS = {
    "SECRET_KEY": "a-long-random-text-that-nobody-guesses-0123456789-abcdefgh",
    "RETL_ENCRYPTION_KEYS": "c29tZS1vdGhlci1rZXktdGhhdC1pcy1yYW5kb20tMTI=",
}

_INLINE = {
    "inline script": re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*type=[\"']application/json)[^>]*>", re.I),
    "style element": re.compile(r"<style\b", re.I),
    "style attribute": re.compile(r"<[a-z][^>]*\sstyle\s*=", re.I),
    "event attribute": re.compile(r"<[a-z][^>]*\son[a-z]+\s*=", re.I),
    "javascript address": re.compile(r"=\s*[\"']?\s*javascript:", re.I),
}


def start(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a new Python with Redrive's settings and nothing but this environment."""
    kept = {name: os.environ[name] for name in ("PATH", "REDRIVE_VAR", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{code}"],
        cwd=ROOT,
        env={**kept, "DJANGO_SETTINGS_MODULE": "retl_project.settings", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("folder", sorted({path.parent for path in TEST_FILES}), ids=lambda path: path.name)
def test_folder_of_tests_can_be_imported(folder: Path):
    import_module(".".join(folder.relative_to(ROOT).parts))
    assert (folder / "__init__.py").is_file(), f"{folder.relative_to(ROOT)} has no __init__.py"


def inline(text: str) -> list[str]:
    return [what for what, pattern in _INLINE.items() if pattern.search(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_template_has_no_inline_script_or_style(page: Path):
    assert inline(page.read_text()) == []


def test_mail_runs_nothing():
    assert set(inline(MAIL.read_text())) == {"style attribute"}


def test_page_that_is_carried_away_runs_and_loads_nothing():
    text = CARRIED.read_text()
    assert inline(text) == ["style element"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<script>x</script>", ["inline script"]),
        ('<script src="a.js" defer></script>', []),
        ('<script type="application/json">{}</script>', []),
        ("<p style='a:b'>", ["style attribute"]),
        ("<style>p {}</style>", ["style element"]),
        ('<a href="#" onclick="x()">', ["event attribute"]),
        ('<a href="javascript:x()">', ["javascript address"]),
        ('<p class="on style">one = two</p>', []),
    ],
)
def test_inline_code_is_recognised(text: str, found: list[str]):
    assert inline(text) == found


@pytest.mark.parametrize(
    ("missing", "named"), [("SECRET_KEY", "SECRET_KEY is not set"), ("RETL_ENCRYPTION_KEYS", "RETL_ENCRYPTION_KEYS is not set")]
)
def test_start_outside_debug_refuses_a_default_secret(missing: str, named: str):
    given = {name: value for name, value in SECRETS.items() if name != missing}
    started = start("", DEBUG="0", ALLOWED_HOSTS="redrive.example", **given)
    assert started.returncode != 0
    assert named in started.stderr


def test_start_in_debug_refuses_a_host_that_is_not_local():
    started = start("", DEBUG="1", ALLOWED_HOSTS="redrive.example")
    assert started.returncode != 0
    assert "ALLOWED_HOSTS names a host that is not local" in started.stderr


def test_console_in_production_loads_nothing_of_the_demo():
    code = (
        "import sys; from importlib import import_module; import_module('retl_project.urls')\n"
        "import_module('retl_project.management.commands.demo'); import_module('retl_project.wsgi')\n"
        "print([name for name in sys.modules if name.startswith('retl_project.demo') or name == 'airportsdata'])"
    )
    started = start(code, DEBUG="0", ALLOWED_HOSTS="redrive.example", **SECRETS)
    assert (started.returncode, started.stdout.strip()) == (0, "[]"), started.stderr


def test_no_product_file_imports_the_demo():
    pattern = re.compile(r"^\s*(from|import) retl_project\.demo", re.M)
    files = [path for app in APPS for path in (ROOT / app).rglob("*.py") if "demo" not in path.parts]
    guilty = [str(path.relative_to(ROOT)) for path in files if path.name != "demo.py" and pattern.search(path.read_text())]
    assert guilty == []
