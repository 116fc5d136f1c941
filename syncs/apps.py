from django.apps import AppConfig


class SyncsConfig(AppConfig):
    name = "syncs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from syncs import checks  # noqa: F401 - registers itself
        from syncs.services import chain_firings, markers
        from syncs.signals import run_finished

        markers.attach()
        run_finished.connect(chain_firings.on_run_finished)
