"""Doors for machines, in front of sessions and host names."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

Answer = Callable[[HttpRequest], HttpResponse]


class MachineDoors:
    """/livez, /readyz and /metrics: a load balancer, Kubernetes or Prometheus calls them by the address of the process, without
    TLS and without a host name that ``ALLOWED_HOSTS`` could know. They look at no cookie and set none."""

    def __init__(self, get_response: Answer) -> None:
        from monitoring.views import machines  # apps are loaded when the first middleware is made

        self._get_response = get_response
        self._doors: dict[str, Answer] = {
            "/livez": machines.livez,
            "/readyz": machines.readyz,
            "/metrics": machines.metrics_page,
        }

    def __call__(self, request: HttpRequest) -> HttpResponse:
        door = self._doors.get(request.path_info)
        if door is None:
            return self._get_response(request)
        answer = door(request) if request.method in ("GET", "HEAD") else HttpResponseNotAllowed(["GET", "HEAD"])
        answer.headers["Cache-Control"] = "no-store"
        # Django would log each "not ready" as an error, every few seconds; whoever probes acts on it, and nobody else asks.
        setattr(answer, "_has_been_logged", True)  # noqa: B010 - Django's own mark, which its type does not name
        return answer
