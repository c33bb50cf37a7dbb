"""Which release counts for a model on this machine: that of its authority, or the last one of an issuer that retired.

Come here for whose release it is; what a release says stands in core/dispatch/releases.py.
"""

from __future__ import annotations

from tiktrue_keys.core.dispatch.peers import has_issuers, retired_issuers
from tiktrue_keys.core.dispatch.releases import CountingRelease, Release, get_release
from tiktrue_keys.core.dispatch.revocation_lists import release_end
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.authority import is_made_here, issuer_of_model
from tiktrue_keys.core.keystore.rows import Rows


def counting_release(rows: Rows, model_id: str, now: Instant) -> CountingRelease | None:
    """Return the release that counts for a model; None without one."""
    issuer = issuer_of_model(rows, model_id)
    if issuer is not None:
        found = get_release(rows, model_id, issuer.origin)
        return None if found is None else CountingRelease(found, release_end(rows, found), now)
    found = get_release(rows, model_id) or _of_retired(rows, model_id)
    return None if found is None else CountingRelease(found, None, now)


def _of_retired(rows: Rows, model_id: str) -> Release | None:
    """Return the last release of the issuer that was removed last and had one. Its lists no longer age."""
    if not has_issuers(rows) or is_made_here(rows, model_id):
        return None
    for issuer in reversed(retired_issuers(rows)):
        found = None if issuer.compromised_at else get_release(rows, model_id, issuer.origin)
        if found is not None:
            return found
    return None
