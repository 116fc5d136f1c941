"""The matrix of roles: complete, the truth of the groups, and told to people as it is."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.test import Client

from retl_project import roles
from tests import seeds

ROLES = list(roles.matrix().roles)
ACTS = re.compile(r"^(syncs|dlq|monitoring)\.(?!view_|allteams_)")


def in_role(role: str, name: str = "") -> User:
    made = seeds.user(name or role)
    made.groups.add(Group.objects.get(name=roles.group_name(role)))
    return User.objects.get(pk=made.pk)


@pytest.mark.django_db
def test_groups_hold_exactly_what_the_matrix_says():
    roles.apply()
    for role in ROLES:
        held = Permission.objects.filter(group__name=roles.group_name(role)).values_list("content_type__app_label", "codename")
        assert {f"{app}.{codename}" for app, codename in held} == roles.matrix().permissions(role)


@pytest.mark.django_db
def test_applying_again_takes_back_what_was_added_by_hand_and_leaves_other_groups():
    roles.apply()
    viewer, own = Group.objects.get(name="Viewer"), Group.objects.create(name="Night shift")
    discard = Permission.objects.get(codename="discard_dlqentry")
    viewer.permissions.add(discard)
    own.permissions.add(discard)
    assert roles.apply() == []
    assert discard not in viewer.permissions.all()
    assert discard in own.permissions.all()


@pytest.mark.django_db
def test_every_permission_of_our_own_is_in_the_matrix_and_exists():
    known = {f"{p.content_type.app_label}.{p.codename}" for p in Permission.objects.select_related("content_type")}
    named = {name for right in roles.matrix().rights for name in right.permissions} | {roles.SEES_ALL}
    assert named - known == set()
    ours = {
        f"{model._meta.app_label}.{codename}"
        for label in ("syncs", "dlq", "monitoring")
        for model in apps.get_app_config(label).get_models()
        for codename, _ in model._meta.permissions
    }
    assert ours - named == set()


def test_viewer_and_auditor_cannot_act():
    for role in ("viewer", "auditor"):
        assert [name for name in roles.matrix().permissions(role) if ACTS.match(name)] == []
    assert roles.matrix().sees_all("auditor")
    assert not roles.matrix().sees_all("viewer")


def test_each_role_of_the_desk_may_what_the_one_before_may():
    ladder = [roles.matrix().permissions(role) for role in ("viewer", "support", "operator", "admin")]
    for lower, higher in itertools.pairwise(ladder):
        assert lower < higher


def test_page_of_the_guide_says_what_the_file_says():
    page = (Path(settings.BASE_DIR) / "docs" / "roles.md").read_text()
    for right in roles.matrix().rights:
        cells = " | ".join(right.reach.get(role, "–") for role in ROLES)
        assert f"| {right.name} | {cells} |" in page


ONE = '[roles]\nviewer = "x"\n[[rights]]\nname = "A"\npermissions = []\n'
TWO = f'{ONE}viewer = "own"\n[[rights]]\nname = "B"\npermissions = []\nviewer = "all"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'{ONE}visitor = "own"\n', "visitor is no role"),
        (f'{ONE}viewer = "some"\n', "viewer is no role, or reaches"),
        (TWO, "viewer reaches “own” in one line"),
    ],
)
def test_file_that_contradicts_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str):
    (tmp_path / "roles.toml").write_text(text)
    monkeypatch.setattr(roles, "FILE", tmp_path / "roles.toml")
    with pytest.raises(ValueError, match=words):
        roles.matrix.__wrapped__()


@pytest.mark.django_db(transaction=True)
def test_roles_are_there_after_a_migrate():
    Group.objects.all().delete()
    call_command("migrate", verbosity=0)
    assert set(Group.objects.values_list("name", flat=True)) >= {roles.group_name(role) for role in ROLES}


# -- whoever manages people stays below superusers


@pytest.fixture
def ada() -> User:
    roles.apply()
    return in_role("admin", "ada")


@pytest.fixture
def page(ada: User) -> Client:
    client = Client()
    client.force_login(ada)
    return client


def form_of(user: User, **values: str) -> dict[str, str]:
    kept = {"username": user.username, "is_active": "on", "is_staff": "on", "last_login_0": "", "last_login_1": ""}
    return {**kept, "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00", **values}


@pytest.mark.django_db
def test_admin_role_cannot_make_a_superuser(page: Client, ada: User):
    discard = Permission.objects.get(codename="discard_dlqentry")
    values = form_of(ada, is_superuser="on", user_permissions=str(discard.pk))
    values["groups"] = str(Group.objects.get(name="Admin").pk)
    answer = page.post(f"/admin/auth/user/{ada.pk}/change/", values)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    ada.refresh_from_db()
    assert not ada.is_superuser
    assert not ada.user_permissions.exists()
    assert ada.groups.get().name == "Admin"


@pytest.mark.django_db
def test_admin_role_cannot_change_a_superuser(page: Client):
    root = seeds.user("root", is_superuser=True)
    before = root.password
    assert page.post(f"/admin/auth/user/{root.pk}/change/", form_of(root, username="mine")).status_code == 403
    new = {"password1": "a-new-Pass-1", "password2": "a-new-Pass-1", "usable_password": "true"}
    assert page.post(f"/admin/auth/user/{root.pk}/password/", new).status_code == 403
    root.refresh_from_db()
    assert (root.username, root.password) == ("root", before)


@pytest.mark.django_db
def test_admin_role_hands_out_roles(page: Client):
    noa = seeds.user("noa")
    values = form_of(noa) | {"groups": str(Group.objects.get(name="Support").pk)}
    assert page.post(f"/admin/auth/user/{noa.pk}/change/", values).status_code == 302
    assert User.objects.get(pk=noa.pk).has_perm("dlq.discard_dlqentry")


@pytest.mark.django_db
def test_nobody_is_deleted(page: Client):
    noa = seeds.user("noa")
    root = Client()
    root.force_login(seeds.user("root", is_superuser=True))
    for client in (page, root):
        assert client.post(f"/admin/auth/user/{noa.pk}/delete/", {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk=noa.pk).exists()
