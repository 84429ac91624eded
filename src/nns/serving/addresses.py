"""Hosts: which are this machine, and what a server is called."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from nns.errors import UsageError


def is_loopback(host: str) -> bool:
    """Return whether a name or number means this machine, whatever a resolver says."""
    name = host.rstrip(".").casefold()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def server_address(url: str) -> SplitResult:
    """Check the address of a server.

    Raises:
        UsageError: If it is none, or holds what belongs elsewhere.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(
            f"server {url!r:.200} is no address; give one like https://zoo.example.org or http://localhost:8000"
        )
    if parts.username is not None or parts.password is not None:
        raise UsageError("a token does not belong into the address of a server; see `token_file`")
    if parts.query or parts.fragment:
        raise UsageError(f"server {url!r:.200} has a query in its address; leave that out")
    return parts
