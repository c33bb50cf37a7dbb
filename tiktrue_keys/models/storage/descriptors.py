"""How many files this process may have open."""

from __future__ import annotations

from contextlib import suppress

_SPARE = 256
_USUAL = 1024


def allowed_descriptors(count: int) -> int:
    """Raise the limit of open files for `count` more, as far as the hard limit allows; return how many it allows."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = count + _SPARE if hard == resource.RLIM_INFINITY else min(count + _SPARE, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        return count if soft == resource.RLIM_INFINITY else max(2, min(count, soft - _SPARE))
    return min(count, _USUAL - _SPARE)
