"""The processes beside the command: the sandbox CRM, the console, the worker. Each is started here and ended here."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]


class NotStartedError(Exception):
    """A process ended, or did not answer in time. The text is for people."""


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def free_port(wanted: int, *, tries: int = 50) -> int:
    """``wanted``, or the next free port after it. Raises ``NotStartedError`` when all of them are taken."""
    for port in range(wanted, min(wanted + tries, 65_536)):
        if is_free(port):
            return port
    raise NotStartedError(f"No free port from {wanted} on. Choose another: make run PORT=9000")


def health(address: str) -> dict[str, Any] | None:
    """What the sandbox CRM at this address says of itself; None: nothing answers, or something else does."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:  # noqa: S310 - a loopback address of ours
            found = json.load(answer)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


class Children:
    """Processes in groups of their own, so that Ctrl-C reaches this one alone, which then ends them in turn, newest first."""

    def __init__(self) -> None:
        self._running: list[tuple[str, subprocess.Popen[str]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, command: list[str], **kwargs: Any) -> subprocess.Popen[str]:
        quiet = {"LOG_LEVEL": "WARNING", **os.environ}  # what they do stands in the console
        child = subprocess.Popen(  # noqa: S603 - commands of ours
            command, cwd=ROOT, env=quiet, start_new_session=True, text=True, **kwargs
        )
        self._running.append((name, child))
        return child

    def ended(self) -> str:
        """The name of a child that is no more; "" while all live."""
        return next((name for name, child in self._running if child.poll() is not None), "")

    def stop(self, seconds: float = 40) -> None:
        while self._running:
            _, child = self._running.pop()
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(seconds)
                except subprocess.TimeoutExpired:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe:
                    pipe.close()


def start_crm(children: Children, *, state: Path, preferred_port: int) -> str:
    """The address of the sandbox CRM that keeps ``state``: the one that runs already, or a new one."""
    address = f"http://127.0.0.1:{preferred_port}"
    found = health(address) if preferred_port and not is_free(preferred_port) else None
    if found and found.get("state") == str(state):
        return address
    port = free_port(preferred_port) if preferred_port else 0
    command = [sys.executable, "-m", "retl_project.demo.sandbox_crm", "--port", str(port), "--state", str(state)]
    child = children.start("sandbox CRM", [*command, "--stop-with-stdin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    line = child.stdout.readline().strip()
    if not line.startswith("http://"):
        raise NotStartedError("The sandbox CRM did not start; its reason stands above.")
    return line


def wait_until_serving(address: str, children: Children, *, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if name := children.ended():
            raise NotStartedError(f"The {name} ended at once; its reason stands above.")
        try:
            urllib.request.urlopen(f"{address}/livez", timeout=2).close()  # noqa: S310 - a loopback address of ours
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise NotStartedError(f"The console did not answer at {address} within {seconds:.0f} s.")


def start_console(children: Children, port: int) -> None:
    """The console by gunicorn, one process with threads; requests are not logged."""
    bind = ["--bind", f"127.0.0.1:{port}", "--workers", "1", "--threads", "8", "--log-level", "warning"]
    children.start("console", [sys.executable, "-m", "gunicorn", *bind, "retl_project.wsgi:application"])


def start_worker(children: Children) -> None:
    children.start("worker", [sys.executable, "manage.py", "retl_worker"], stdout=subprocess.DEVNULL)


def until_stopped(children: Children) -> str:
    """Wait for Ctrl-C or SIGTERM; returns the name of a child that ended by itself meanwhile, or ""."""
    stopping: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.append(number)

    before: dict[signal.Signals, Callable[..., Any] | int | None] = {
        number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        while not stopping:
            if name := children.ended():
                return name
            time.sleep(0.2)
        return ""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
