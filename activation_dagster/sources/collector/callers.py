"""Who is calling: the key that a request's head carries, and the client's address as far as it is kept."""

from __future__ import annotations

import base64
import binascii
import ipaddress

from starlette.types import Scope

from activation_dagster.sources.collector.intake import header


def basic_key(scope: Scope) -> str:
    """The user of Basic authorization; the colon behind it may be missing, as old clients leave it out."""
    scheme, _, said = header(scope, b"authorization").partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        return base64.b64decode(said.strip(), validate=True).partition(b":")[0].decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def bearer(scope: Scope) -> str:
    """The token of Bearer authorization, or nothing."""
    scheme, _, said = header(scope, b"authorization").partition(b" ")
    return said.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""


def client_address(scope: Scope, kept: str) -> str:
    """The client's address as far as it is kept: truncated is a network of 256 (IPv4) or 2^80 (IPv6) addresses."""
    client = scope.get("client")
    if kept == "off" or not client:
        return ""
    try:
        found = ipaddress.ip_address(client[0])
    except ValueError:
        return ""
    if kept == "full":
        return str(found)
    return str(ipaddress.ip_network(f"{found}/{24 if found.version == 4 else 48}", strict=False).network_address)
