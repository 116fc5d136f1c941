"""Who may read what other tools read (/metrics, the feeds): whoever knows a token, or stands in a network that is allowed."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from django.http import HttpRequest

from syncs.connectors import Issue

SHORTEST_TOKEN = 20
_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-Ip")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def has_token(request: HttpRequest, tokens: Iterable[str]) -> bool:
    """``Authorization: Bearer <token>``; every token is compared in full, whichever fits."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return False
    offered = given.strip().encode("utf-8", "replace")
    return any([hmac.compare_digest(offered, token.encode()) for token in tokens if token])  # noqa: C419 - always all


def is_in(request: HttpRequest, networks: Iterable[str]) -> bool:
    """The address that called is in one of them. What came through a proxy is not: it would lend everybody its own address."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _networks(tuple(networks)))


@lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(text.strip(), strict=False) for text in texts if not network_issue(text))


def network_issue(text: str) -> str:
    try:
        ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return f"“{text}” is not a network. Write it like 10.0.0.0/8 or 192.0.2.17/32."
    return ""


def issues(tokens: Iterable[str], networks: Iterable[str], *, names: tuple[str, str]) -> list[Issue]:
    """What is wrong with these settings. ``names``: of the environment variables, for tokens and for networks."""
    found = []
    for position, token in enumerate(tokens, start=1):
        if len(token) < SHORTEST_TOKEN or not token.isascii() or token.split() != [token]:
            text = f"Token {position} of {names[0]} must be at least {SHORTEST_TOKEN} plain characters without spaces."
            found.append(Issue(names[0], text))
    found += [Issue(names[1], text) for network in networks if (text := network_issue(network))]
    return found
