"""Makes a way from its settings; only here is a way's module imported.

Come here for what a way costs at start-up: nothing until it is used. Which ways may be used is decided in `ways.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiktrue_keys.roots.root import Root


def root_of(way: str, values: Mapping[str, str], read_secret: Callable[[], bytes]) -> Root:
    """Return a known way with its settings. Raises UsageError for impossible settings, and InsecureError."""
    if way == "tpm2":
        from tiktrue_keys.roots.tpm2 import tpm2_of

        return tpm2_of(values)
    if way == "pkcs11":
        from tiktrue_keys.roots.pkcs11 import pkcs11_of

        return pkcs11_of(values, read_secret)
    from tiktrue_keys.roots.transit import transit_of

    return transit_of(values, read_secret)
