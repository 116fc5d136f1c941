"""``manage.py api_client``: write the typed Python client of the API, made from its document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Write a typed Python client of the API: one module that needs requests and nothing else."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", type=Path, default=Path("build/redrive_client.py"), help="the file to write")

    def handle(self, *args: Any, **options: Any) -> None:
        from drf_spectacular.generators import SchemaGenerator

        from retl_project.client import generator

        document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
        output: Path = options["output"]
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(generator.module(document))
        self.stdout.write(f"{output} is written: {len(document['paths'])} addresses.")
