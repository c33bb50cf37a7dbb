"""`--label K=V`, repeatable, as a mapping."""

from __future__ import annotations

from collections.abc import Iterable

from tiktrue_keys.errors import UsageError


def parse_labels(given: Iterable[str]) -> dict[str, str]:
    """Return the labels by name. Raises UsageError for a malformed or repeated one."""
    labels: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise UsageError(f"'{each}' is not a label", "write it like --label team=research")
        if name in labels:
            raise UsageError(f"the label '{name}' is given twice")
        labels[name] = value
    return labels
