from __future__ import annotations

from typing import ClassVar

from django.db import models


class Tag(models.Model):
    """A word by which syncs are found, filtered and alerted on together: a product, an environment, a cost centre."""

    name = models.SlugField(max_length=40, unique=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name
