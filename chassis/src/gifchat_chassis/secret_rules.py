"""Which secrets a service may start with, and where it may read them."""

from collections.abc import Collection
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from gifchat_contracts.identity import DEVELOPMENT_SECRET

DEVELOPMENT_TOKEN = "development-only-internal-token"  # noqa: S105 - refused off loopback and in production
SECRET_MIN_CHARS = 32
"""Shorter secrets can be guessed. `secrets.token_urlsafe(32)` returns 43 characters with 256 random bits."""

_DEFAULTS = frozenset({DEVELOPMENT_SECRET, DEVELOPMENT_TOKEN})


def weakness_of(secrets: Collection[str]) -> str | None:
    """Return what is wrong with these secrets, as the end of a sentence; None if all are strong."""
    if any(secret in _DEFAULTS for secret in secrets):
        return "contains the default secret"
    if any(len(secret) < SECRET_MIN_CHARS for secret in secrets):
        return f"has fewer than {SECRET_MIN_CHARS} characters"
    return None


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a listener on `host`."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def read_secret(folder: Path, name: str) -> str | None:
    """Return the secret in the file `name`, without the line end; None if there is no such file.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        return (folder / name).read_text().strip()
    except FileNotFoundError:
        return None
