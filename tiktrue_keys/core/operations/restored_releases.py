"""Releases through a restore: the newer ones of the replaced keystore stand, and what was withdrawn stays withdrawn.

Come here for why a restore of an older backup does not bring last week's weights back. This keystore's own releases are
issued again under a number of the new epoch, so that nodes take them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tiktrue_keys.core.dispatch.releases import HERE, Release, get_release, put_release
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.operations.release import issue_releases


def carry_releases(transaction: Transaction, remembered: Sequence[Release]) -> int:
    """Take over the releases of the replaced keystore that differ from the backup's; return how many."""
    carried = 0
    for release in remembered:
        known = get_release(transaction.rows, release.model_id, release.origin)
        before = known or Release(release.model_id, release.origin)
        newest = max(before, release, key=lambda each: (each.epoch, each.number))
        withdrawn = {*before.withdrawn, *release.withdrawn}
        entries = tuple(each for each in newest.entries if each.file_id not in withdrawn)
        merged = replace(newest, entries=entries, withdrawn=tuple(sorted(withdrawn)))
        if merged == known:
            continue
        carried += 1
        if release.origin == HERE:
            issue_releases(transaction, [merged], [before])
        else:
            put_release(transaction.rows, merged)
    return carried
