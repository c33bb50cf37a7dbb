"""How envelopes travel: one module for each transport, found by the scheme of `--via`.

Start with `interface.py`. Transports are found through the entry-point group `tiktrue_keys.transports`. A transport
carries sealed lines and is trusted with nothing but their delivery.
"""

from __future__ import annotations

from collections.abc import Mapping

from tiktrue_keys.errors import UsageError
from tiktrue_keys.fleet.transports.interface import Transport

GROUP = "tiktrue_keys.transports"


def open_transport(address: str, credentials: Mapping[str, str] | None = None) -> Transport:
    """The transport of an address such as `spool:DIR` or `etcd://host:port/prefix`; UsageError for an unknown one.

    `credentials` are what no address should hold: user, password, ca, cert, key (paths), as the transport documents.
    """
    scheme, colon, rest = address.partition(":")
    if not colon or not rest:
        raise UsageError(f"'{address[:80]}' is no transport", "spool:DIR, or etcd://HOST:PORT/PREFIX")
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
        raise UsageError(f"there is no transport '{scheme[:40]}'", f"an installed package adds one as {GROUP}")
    made: Transport = found[0].load()(rest, credentials)
    return made
