from django.apps import AppConfig


class SyncsConfig(AppConfig):
    name = "syncs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from syncs import checks  # noqa: F401 - registers itself
        from syncs.services import markers

        markers.attach()
