"""Revocation lists as records: those that this keystore issues, and those that its issuers sent.

Come here for how a revocation or a release reaches other keystores. A list carries the revocations and releases since
the list before it; a receiver keeps the union of revocations, and the newest release of each model. It states until
when it may be relied on, so that a missing list is not taken for the absence of either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from tiktrue_keys.core.dispatch.outbox import LIST, queue
from tiktrue_keys.core.dispatch.peers import NODE, all_progress, roster
from tiktrue_keys.core.dispatch.releases import HERE, MAX_ENTRIES, MAX_WITHDRAWN, Release, get_release
from tiktrue_keys.core.instants import DAY, Instant, Seconds
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction

VALID_FOR = Seconds(30 * DAY)
RENEWED_AFTER = Seconds(VALID_FOR // 2)
KEYS_A_LIST = 32
RELEASES_A_LIST = 32
REASON_LENGTH = 60
"""Characters of a revocation's reason that travel with it."""


@dataclass(frozen=True)
class Revocation:
    """A revoked key, as lists carry it."""

    key_id: str
    revoked_at: Instant
    reason: str


@dataclass(frozen=True)
class RevocationList:
    """The content of one list. `issuer` is a node id."""

    issuer: str
    epoch: int
    number: int
    issued_at: Instant
    valid_until: Instant
    revoked: tuple[Revocation, ...] = ()
    releases: tuple[Release, ...] = ()


@dataclass(frozen=True)
class KnownList:
    """The newest list of one issuer that this keystore has received."""

    epoch: int
    number: int
    issued_at: Instant
    valid_until: Instant


def publish(
    transaction: Transaction,
    revoked: Sequence[Revocation] = (),
    *,
    releases: Sequence[Release] = (),
    node_ids: Sequence[str] | None = None,
) -> None:
    """Create lists of `revoked` and of this keystore's `releases`, or one empty list, and queue them.

    They go to every node, or to `node_ids`. Does nothing without peers, except that releases get their list all the
    same: its number orders them.
    """
    if roster(transaction.rows).count == 0 and not releases:
        return
    if node_ids is None:
        node_ids = [peer.node_id for peer in all_progress(transaction.rows).values() if peer.role == NODE]
    for at in range(0, len(revoked), KEYS_A_LIST):
        _publish_one(transaction, node_ids, revoked=revoked[at : at + KEYS_A_LIST])
    for together in _together(releases):
        _publish_one(transaction, node_ids, releases=together)
    if not revoked and not releases:
        _publish_one(transaction, node_ids)


def _publish_one(
    transaction: Transaction,
    node_ids: Sequence[str],
    *,
    revoked: Sequence[Revocation] = (),
    releases: Sequence[Release] = (),
) -> None:
    number = next_number(transaction.rows)
    payload = {
        "number": number,
        "issued_at": transaction.now,
        "valid_until": transaction.now + VALID_FOR,
        "revoked": [asdict(revocation) for revocation in revoked],
        "releases": [release.model_id for release in releases],
    }
    transaction.rows.put(RecordKind.REVOCATION_LIST, f"list {number}", payload)
    transaction.rows.put(RecordKind.REVOCATION_LIST, "newest", {"number": number, "issued_at": transaction.now})
    queue(transaction, LIST, node_ids, list_number=number)


def _together(releases: Sequence[Release]) -> Iterator[list[Release]]:
    """Yield the releases in groups that fit a list."""
    group: list[Release] = []
    for release in releases:
        if group and not _fit([*group, release]):
            yield group
            group = []
        group.append(release)
    if group:
        yield group


def _fit(releases: Sequence[Release]) -> bool:
    entries = sum(len(release.entries) for release in releases)
    withdrawn = sum(len(release.withdrawn) for release in releases)
    return len(releases) <= RELEASES_A_LIST and entries <= MAX_ENTRIES and withdrawn <= MAX_WITHDRAWN


def next_number(rows: Rows) -> int:
    """Return the number of the list that this keystore creates next."""
    return newest_number(rows) + 1


def newest_number(rows: Rows) -> int:
    """Return the number of the newest list that this keystore created; 0 before the first."""
    payload = rows.get(RecordKind.REVOCATION_LIST, "newest")
    return int(payload["number"]) if payload else 0


def wants_renewal(rows: Rows, now: Instant) -> bool:
    """Return whether the newest list has passed half of its validity and the keystore has peers."""
    payload = rows.get(RecordKind.REVOCATION_LIST, "newest")
    return payload is not None and roster(rows).count > 0 and now >= payload["issued_at"] + RENEWED_AFTER


def issued_list(rows: Rows, number: int, issuer: str, epoch: int) -> RevocationList | None:
    """Return a list that this keystore created, or None.

    A release that a later list replaces is left out: it is not signed again.
    """
    payload = rows.get(RecordKind.REVOCATION_LIST, f"list {number}")
    if payload is None:
        return None
    revoked = tuple(Revocation(**each) for each in payload["revoked"])
    carried = [get_release(rows, model_id, HERE) for model_id in sorted(payload.get("releases", ()))]
    releases = tuple(release for release in carried if release is not None and release.number <= number)
    return RevocationList(issuer, epoch, number, payload["issued_at"], payload["valid_until"], revoked, releases)


def revocations_on_list(rows: Rows, number: int) -> list[Revocation]:
    """Return the revocations on a list of this keystore; none for an unknown list."""
    payload = rows.get(RecordKind.REVOCATION_LIST, f"list {number}")
    return [Revocation(**each) for each in payload["revoked"]] if payload else []


def keys_on_list(rows: Rows, number: int) -> list[str]:
    """Return the ids of the keys that a list of this keystore revokes; none for an unknown list."""
    return [each.key_id for each in revocations_on_list(rows, number)]


def releases_on_list(rows: Rows, number: int) -> list[str]:
    """Return the ids of the models whose releases a list of this keystore carries; none for an unknown list."""
    payload = rows.get(RecordKind.REVOCATION_LIST, f"list {number}")
    return list(payload.get("releases", ())) if payload else []


def known_list(rows: Rows, issuer: str) -> KnownList | None:
    """Return the newest list of an issuer that was received, or None."""
    payload = rows.get(RecordKind.REVOCATION_LIST, f"from {issuer}")
    return KnownList(**payload) if payload else None


def release_end(rows: Rows, release: Release) -> Instant | None:
    """Return when the newest list of a release's issuer ends; None for a release that was made here.

    A node that has a list has every release that was sent to it before: its envelopes are numbered without a gap.
    """
    if release.origin == HERE:
        return None
    known = known_list(rows, release.origin)
    return known.valid_until if known else Instant(0)


def put_known_list(rows: Rows, issuer: str, known: KnownList) -> None:
    """Store the newest list of an issuer."""
    rows.put(RecordKind.REVOCATION_LIST, f"from {issuer}", asdict(known))


def revocation_of(rows: Rows, key_id: str, origin: str) -> Revocation | None:
    """Return the revocation that an issuer (`origin`) has sent for a key of its own, held or not; None without one.

    One that was stored before records had an origin counts for every issuer.
    """
    for name in (f"revoked {key_id} {origin}", f"revoked {key_id}"):
        payload = rows.get(RecordKind.REVOCATION_LIST, name)
        if payload is not None:
            return Revocation(payload["key_id"], Instant(payload["revoked_at"]), payload["reason"])
    return None


def put_revocation(rows: Rows, revocation: Revocation, origin: str) -> None:
    """Store the revocation of a key by its issuer (`origin`), which also applies if the key arrives later."""
    name = f"revoked {revocation.key_id} {origin}"
    rows.put(RecordKind.REVOCATION_LIST, name, asdict(revocation) | {"origin": origin})
