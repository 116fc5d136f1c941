from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana() -> User:
    """One permission of her own, one by a role, one by both."""
    user = User.objects.create_user("ana")
    own, by_role, both = Permission.objects.order_by("pk")[:3]
    user.user_permissions.set([own, both])
    role = Group.objects.create(name="a role of hers")
    role.permissions.set([by_role, both])
    user.groups.add(role)
    Group.objects.create(name="not hers").permissions.set(Permission.objects.order_by("-pk")[:3])
    return User.objects.get(pk=user.pk)


def test_permissions_are_those_of_django_from_one_query(ana: User, django_assert_num_queries: Any) -> None:
    expected = ModelBackend().get_all_permissions(User.objects.get(pk=ana.pk))
    assert len(expected) == 3
    with django_assert_num_queries(1):
        assert ana.get_all_permissions() == expected
        assert all(ana.has_perm(name) for name in expected)


def test_inactive_users_have_none_and_superusers_all(ana: User) -> None:
    ana.is_active = False
    assert ana.get_all_permissions() == set()
    assert len(User.objects.create_superuser("root").get_all_permissions()) == Permission.objects.count()


def test_password_still_logs_in(client: Any) -> None:
    User.objects.create_user("ben", password="a long secret", is_staff=True)
    assert client.login(username="ben", password="a long secret")
    assert not client.login(username="ben", password="another")
