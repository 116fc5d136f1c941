from __future__ import annotations

from django.db import models


class SpentToken(models.Model):
    """A signed token that was good once: its digest, from its use until it would have expired anyway."""

    digest = models.CharField(max_length=64, primary_key=True)
    spent_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"token spent at {self.spent_at:%Y-%m-%d %H:%M:%S}"
