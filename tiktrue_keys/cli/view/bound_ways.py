"""The ways in which a keystore opens, as people and the configuration call them."""

from __future__ import annotations

import json
from collections.abc import Mapping

_NAMES = {"machine": "host-secret"}


def name_of(way: str) -> str:
    """Return the name of a way on the command line."""
    return _NAMES.get(way, way)


def way_of(name: str) -> str:
    """Return the way that the command line calls `name`."""
    return next((way for way, known in _NAMES.items() if known == name), name)


def configuration(way: str, settings: Mapping[str, str]) -> list[str]:
    """Return the lines of TOML that enable a way. A JSON string is a TOML string."""
    return [f"[roots.{way}]", *(f"{name} = {json.dumps(value)}" for name, value in settings.items())]
