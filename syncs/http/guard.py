"""The address guard: which hosts we may talk to. Judged on addresses, after resolution, on every new connection.

Judging the text of a URL is not enough: ``0x7f.1``, ``2130706433``, ``0177.0.0.1`` and circled digits all reach 127.0.0.1, and
a name may resolve to something else a second later. So the host is resolved once, every address is checked, and the connection
is made to a checked address. ``ipaddress`` itself calls several of the ranges below global, hence a list of our own.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from syncs.errors import AddressRefusedError, ConfigError

Resolver = Callable[[str, int], Sequence[str]]  # (host, port) -> addresses as text; raises OSError
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Nobody's API: refused even inside a range that the operator allows.
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.169.254/32",  # cloud metadata
        "169.254.170.2/32",  # container credentials
        "100.100.100.200/32",  # cloud metadata
        "168.63.129.16/32",  # cloud platform channel
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/128",
        "fd00:ec2::/32",  # cloud metadata
        "ff00::/8",
    )
)
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "240.0.0.0/4",
        "::/96",  # IPv4-compatible, and ::1
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64: reaches any IPv4 address, private ones too
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",  # Teredo, ORCHID and other special uses
        "2001:db8::/32",
        "2002::/16",  # 6to4: carries any IPv4 address
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
    )
)
_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_.])?")
_UNSAFE = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL. ``host`` is ASCII (IDNA), ``path`` begins with a slash and holds the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


def parse_url(url: str, *, field: str = "url") -> Target:
    """Raises ``ConfigError`` naming ``field`` for anything but a plain http(s) URL without user name and password."""
    try:
        parts = urlsplit(url)
        port = parts.port
        raw_host = parts.hostname or ""
    except ValueError:
        raise ConfigError("The URL cannot be read. Write it like https://api.example.com/v1.", field=field) from None
    if parts.scheme not in ("http", "https"):
        raise ConfigError("The URL must begin with https://.", field=field)
    if "@" in parts.netloc:
        raise ConfigError("The URL must not hold a user name or password. Put them into the connection's secrets.", field=field)
    host = _ascii_host(raw_host, field)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.startswith("/") or _UNSAFE.search(path):
        raise ConfigError("The URL holds a space, a control character or an unquoted special character.", field=field)
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


def _ascii_host(host: str, field: str) -> str:
    if not host:
        raise ConfigError("The URL names no host. Write it like https://api.example.com/v1.", field=field)
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host.partition("%")[0]))
        except ValueError:
            raise ConfigError("The URL's host is not a valid IPv6 address.", field=field) from None
    try:
        ascii_host = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        ascii_host = ""
    if not _HOST.fullmatch(ascii_host) or len(ascii_host) > 253:
        raise ConfigError(f"“{host[:80]}” is not a valid host name.", field=field)
    return ascii_host


def system_resolver(host: str, port: int) -> list[str]:
    """Every address the system knows for the host, in its order of preference."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class AddressGuard:
    """``allowed_private_networks``: CIDR ranges an operator opens in the settings. Raises ``ConfigError`` for a bad range."""

    def __init__(self, allowed_private_networks: Iterable[str] = ()) -> None:
        self._allowed = tuple(_network(text) for text in allowed_private_networks)

    def is_allowed_private(self, address: str) -> bool:
        ip = _address(address)
        return not _within(ip, _NEVER) and _within(ip, self._allowed)

    def refusal(self, address: str) -> str:
        """Why the address is refused, or an empty string."""
        ip = _address(address)
        if _within(ip, _NEVER):
            return "it belongs to a range that is never a destination (metadata, multicast, unspecified)"
        if _within(ip, _PRIVATE) and not _within(ip, self._allowed):
            return "it is private or reserved; an operator can allow its range with RETL_ALLOWED_PRIVATE_NETWORKS"
        return ""

    def check(self, target: Target, addresses: Sequence[str]) -> None:
        """Raises ``AddressRefusedError`` unless every address may be used; plain http only to allowed private ranges."""
        for address in addresses:
            reason = self.refusal(address)
            if reason:
                where = target.host if target.host == address else f"{target.host} ({address})"
                raise AddressRefusedError(f"The host {where} is refused: {reason}.", field="base_url", code="address_refused")
            if target.scheme != "https" and not self.is_allowed_private(address):
                raise AddressRefusedError(
                    f"The host {target.host} must be called with https://; plain http is only for allowed private networks.",
                    field="base_url",
                    code="https_required",
                )


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ConfigError(
            f"“{text}” is not a network. Write it like 10.0.0.0/8.", field="RETL_ALLOWED_PRIVATE_NETWORKS"
        ) from None


def _address(text: str) -> Address:
    return ipaddress.ip_address(text.partition("%")[0])


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
