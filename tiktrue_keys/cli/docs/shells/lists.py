"""The commands that list what completions offer: each prints names, asks nothing, and needs no license."""

from __future__ import annotations

from collections.abc import Mapping

_QUIETLY = "2>/dev/null </dev/null"

LISTS: Mapping[str, str] = {
    "key": f"tiktrue-keys list -q {_QUIETLY}",
    # A key id without its last 17 characters is its model id. No character here is special in bash, zsh or fish.
    "model": f"tiktrue-keys list -q {_QUIETLY} | rev | cut -c18- | rev | sort -u",
    "node": f"tiktrue-keys fleet list --format csv --column name {_QUIETLY} | tail -n +2",
    "file-id": f"tiktrue-keys models list -q {_QUIETLY}",
}
"""Pipelines by the kind of a value."""
