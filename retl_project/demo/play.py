"""The demo from start to end, in the order a person sees it."""

from __future__ import annotations

import json
import logging
from typing import IO, Any

from django.core.management import call_command

from retl_project.demo import journey, processes, setup, warehouse
from retl_project.demo.processes import Children, NotStartedError
from syncs.errors import ConfigError, RedriveError


class DemoError(Exception):
    """Why the demo cannot go on, in a sentence."""


def play(*, once: bool, as_json: bool, port: int, out: IO[str] | Any, log: IO[str] | Any) -> None:
    """Raises ``DemoError``. ``out`` takes what was asked for, ``log`` what is said on the way."""
    say = log.write if as_json else out.write
    try:
        with Children() as children:
            demo, address = _prepare(children, say)
            outcome, problem = _journey(demo, say)
            if as_json and outcome is not None:
                out.write(json.dumps(outcome.as_json()))
            if not once:  # whatever somebody tried out with the demo, the console is where they can see it
                _serve(children, demo, address, port, say)
            elif problem:
                raise DemoError(problem)
    except (NotStartedError, RedriveError) as error:
        raise DemoError(str(error)) from error
    except KeyboardInterrupt:
        say("Stopped.")


def _prepare(children: Children, say: Any) -> tuple[setup.Demo, str]:
    logging.getLogger("django-q").setLevel(logging.WARNING)
    say("Preparing the database ...")
    call_command("migrate", verbosity=0, interactive=False)
    paths = setup.paths()
    say("Loading the warehouse ...")
    rows = warehouse.ensure_file(paths.warehouse)
    address = processes.start_crm(children, state=paths.crm, preferred_port=setup.crm_port())
    say(f"Warehouse: {rows:,} airports. Sandbox CRM: {address}/admin")
    return setup.prepare(crm_address=address), address


def _journey(demo: setup.Demo, say: Any) -> tuple[journey.Outcome | None, str]:
    """The outcome of the airports, if they ran, and why something did not end well. A sync that somebody paused or archived is
    left out."""
    say("Running the syncs ...")
    outcome, problems = None, []
    for sync in (demo.countries, demo.airports):
        outcome = None
        try:
            outcome = journey.run_sync(sync, by=demo.admin)
        except ConfigError as refusal:
            say(f"\n{sync.name}: left out. {refusal}")
            problems.append(str(refusal))
            continue
        say("\n" + journey.report(sync, outcome))
        if not outcome.is_complete:
            problems.append(f"The run of {sync.name} ended as {outcome.status}: {outcome.failure}")
    return outcome, " ".join(problems)


def _serve(children: Children, demo: setup.Demo, crm_address: str, wanted: int, say: Any) -> None:
    port = processes.free_port(wanted)
    if port != wanted:
        say(f"Port {wanted} is taken; the console takes {port}.")
    address = f"http://127.0.0.1:{port}"
    processes.start_console(children, port)
    processes.start_worker(children)
    processes.wait_until_serving(address, children)
    say(f"\nConsole      {address}/admin/")
    for name in ("admin", "support"):
        say(f"  user       {name:<8} password {demo.logins.get(name, '(the one you set)')}")
    say(f"Sandbox CRM  {crm_address}/admin")
    say("Ctrl-C stops everything.")
    if name := processes.until_stopped(children):
        raise DemoError(f"The {name} ended by itself; its reason stands above.")
    say("Stopping ...")
    children.stop()
    say("Stopped.")
