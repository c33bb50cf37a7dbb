"""Scopes: the models that an issuer may speak for on this machine, as exact ids and prefixes.

    covers(("llama", "vision/*"), "vision/clip")    True

Come here for the grammar of --models and for when two scopes overlap. The functions are pure; core/keys/authority.py
says whose word counts for a model.
"""

from __future__ import annotations

from collections.abc import Iterable

from tiktrue_keys.core.names import parse_model_id
from tiktrue_keys.errors import UsageError

Scope = tuple[str, ...]
"""Model ids, and prefixes that end in `*`; sorted, none twice."""

ALL: Scope = ("*",)
MAX_ENTRIES = 128
"""The most entries of a scope: it is stored in the row of its peer, which also holds the keys."""
_STAR = "*"


def parse_scope(texts: Iterable[str]) -> Scope:
    """Return the scope that consists of these model ids and prefixes. Raises UsageError for any other text."""
    for text in texts:
        if text != _STAR:
            parse_model_id(f"{text[:-1]}x" if text.endswith(_STAR) else text)
    scope = tuple(sorted(set(texts)))
    if len(scope) > MAX_ENTRIES:
        raise UsageError(f"a scope has at most {MAX_ENTRIES} entries", "use PREFIX* for models that begin alike")
    return scope


def covers(scope: Scope, model_id: str) -> bool:
    """Return whether the scope contains a model."""
    return any(_overlap(entry, model_id) for entry in scope)


def overlapping(scope: Scope, other: Scope) -> Scope:
    """Return the entries of `scope` that overlap an entry of `other`."""
    return tuple(entry for entry in scope if any(_overlap(entry, each) for each in other))


def is_within(scope: Scope, outer: Scope) -> bool:
    """Return whether every model of `scope` is one of `outer`."""
    return all(any(_begins(wider, entry) for wider in outer) for entry in scope)


def scope_text(scope: Scope) -> str:
    """Return a scope as people write it."""
    return " ".join(scope) if scope else "no model"


def _overlap(first: str, second: str) -> bool:
    """An id overlaps itself and each prefix that begins it; two prefixes overlap if one begins the other."""
    return _begins(first, second) or _begins(second, first)


def _begins(wider: str, entry: str) -> bool:
    if wider.endswith(_STAR):
        return entry.removesuffix(_STAR).startswith(wider[:-1])
    return wider == entry
