"""Transports of envelopes: one module for each, chosen by the scheme of `--via`.

Start with `interface.py`. Other packages add transports through the entry-point group `tiktrue_keys.transports`. A
transport carries sealed lines; it is trusted with their delivery only.
"""

from __future__ import annotations

from collections.abc import Mapping

from tiktrue_keys.errors import UsageError
from tiktrue_keys.fleet.transports.interface import Transport

GROUP = "tiktrue_keys.transports"


def open_transport(address: str, credentials: Mapping[str, str] | None = None) -> Transport:
    """Return the transport of an address such as `spool:DIR` or `etcd://host:port/prefix`.

    `credentials` keeps secrets out of the address: user, password_file, ca, cert, key, as the transport documents.
    Raises UsageError for an unknown transport.
    """
    scheme, colon, rest = address.partition(":")
    if not colon or not rest:
        raise UsageError(f"'{address[:80]}' is not a transport", "use spool:DIR or etcd://HOST:PORT/PREFIX")
    given = dict(credentials or {})
    if scheme == "spool":
        from tiktrue_keys.fleet.transports.spool import open_spool

        return open_spool(rest, given)
    if scheme == "etcd":
        from tiktrue_keys.fleet.transports.etcd import open_etcd

        return open_etcd(rest, given)
    return _from_another_package(scheme, rest, given)


def _from_another_package(scheme: str, rest: str, credentials: dict[str, str]) -> Transport:
    from importlib.metadata import entry_points

    found = [each for each in entry_points(group=GROUP) if each.name == scheme]
    if not found:
        raise UsageError(
            f"transport '{scheme[:40]}' is not installed", f"install a package with the entry point {GROUP}"
        )
    made: Transport = found[0].load()(rest, credentials)
    return made
