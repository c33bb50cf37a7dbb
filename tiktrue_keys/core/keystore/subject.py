"""What a request is about, as its caller named it: keys, models, files. For the record of its refusal or failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_KEYS = ("key", "keys")
_MODELS = ("model_id", "model")
_PATHS = ("path", "source", "paths", "sources", "destination")


@dataclass(frozen=True)
class Subject:
    """KEY arguments, model ids, and paths or URLs, before any of them was looked up."""

    keys: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Subject:
        """Return the subject of a request with these arguments. Of several places the first one counts."""
        paths = (_named(arguments, (name,)) for name in _PATHS)
        return cls(_named(arguments, _KEYS), _named(arguments, _MODELS), next(filter(None, paths), ()))


NOTHING = Subject()


def _named(arguments: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for name in names:
        value = arguments.get(name)
        found += [value] if isinstance(value, str) and value else []
        found += [each for each in value if isinstance(each, str)] if isinstance(value, (list, tuple)) else []
    return tuple(found)
