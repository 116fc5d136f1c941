import pytest
from django.core.management import call_command
from django.db import connection


@pytest.mark.django_db
def test_no_model_change_without_migration():
    call_command("makemigrations", "--check", "--dry-run")


@pytest.mark.django_db
def test_system_checks_are_clean():
    call_command("check", "--fail-level", "WARNING")


@pytest.mark.django_db
def test_database_constraints_are_installed():
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "syncs_run")
    assert "run_counts_balance" in found
