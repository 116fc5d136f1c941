"""Which syncs a list shows: the conditions behind its filters, whoever asks."""

from __future__ import annotations

from collections.abc import Collection
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.text import smart_split, unescape_string_literal

from syncs.models import Sync

SEARCHED = ("name", "description", "destination_object", "destination__name")


def owned(syncs: QuerySet[Any], ids: Collection[int | str], *, or_nobody: bool = False) -> QuerySet[Any]:
    """Those of these owners; ``or_nobody``: and those without one."""
    owners = Q(owner__in=ids)
    return syncs.filter(owners | Q(owner__isnull=True) if or_nobody else owners)


def tagged(syncs: QuerySet[Any], names: Collection[str]) -> QuerySet[Any]:
    """Those that have any of these tags, each once."""
    links: Any = Sync.tags.through._default_manager.filter(tag__name__in=names)
    return syncs.filter(pk__in=links.values("sync_id"))


def searched(syncs: QuerySet[Any], text: str) -> QuerySet[Any]:
    """Those that have every word of the text in their name, description, object or destination; a phrase stands in quotes."""
    for word in smart_split(text):
        if len(word) > 2 and word[0] in "\"'" and word[0] == word[-1]:  # a quote by itself is looked for, as any other text
            word = unescape_string_literal(word)
        syncs = syncs.filter(reduce(or_, (Q(**{f"{name}__icontains": word}) for name in SEARCHED)))
    return syncs
